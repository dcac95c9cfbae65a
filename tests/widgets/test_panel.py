from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from rich.style import Style
from textual import on
from textual.filter import ANSIToTruecolor
from textual.geometry import Region
from textual.strip import Strip

from tests.fixtures import snapshots as made
from tests.widgets.stage import Stage, main_screen, texts
from widgets.gpus import GpusPanel
from widgets.headline import HeadLine
from widgets.overview import Overview
from widgets.panel import Panel, changed_span
from widgets.readiness import ReadinessLine
from widgets.traffic import TrafficPanel
from widgets.transfer import TransferPanel
from widgets.triggers import TriggersPanel

RED, BLUE = Style(color="red"), Style(color="blue")


class Hearing(Stage):
    """Remembers which screens were asked for."""

    @on(Panel.Opened)
    def _opened(self, message: Panel.Opened) -> None:
        self.heard.append(message.screen)


@pytest.mark.parametrize(
    ("old", "new", "span"),
    [
        ("same", "same", None),
        ("93.1 %", "93.2 %", (3, 6)),
        ("lag|3 of 5|objects", "lag|3 of 6|objects", (8, 9)),
        ("lag|3|objects", "lag|4|objects", (3, 4)),
        ("日本|x|z", "日本|y|z", (4, 5)),
        ("lag|short", "lag|shorter", (8, 20)),
        ("lag", "lag|new", (3, 20)),
        ("", "new", (0, 20)),
        ("a|a|b", "a|a|a|b", (2, 20)),
    ],
)
def test_only_the_cells_that_differ_are_a_change(old: str, new: str, span: tuple[int, int] | None) -> None:
    before, after = (Strip([Segment(piece, RED) for piece in line.split("|")]) for line in (old, new))
    assert changed_span(before, after, 20) == span


def test_a_change_of_colour_alone_is_a_change() -> None:
    assert changed_span(Strip([Segment("ok", RED)]), Strip([Segment("ok", BLUE)]), 20) == (0, 2)


async def test_a_new_snapshot_refreshes_only_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = TransferPanel()
    panel.snapshot = made.soaking()
    async with Stage(panel).run_test(size=(40, 9)) as pilot:
        await pilot.pause()
        asked: list[Region] = []
        original = panel.refresh

        def refresh(*regions: Region, **how: bool) -> TransferPanel:
            asked.extend(regions or [panel.size.region])
            return original(*regions, **how)

        monkeypatch.setattr(panel, "refresh", refresh)
        same = made.soaking()
        panel.snapshot = same.model_copy(update={"seq": 900})
        assert asked == []
        corpus = same.datasets[0].model_copy(update={"rate": 231e6})
        panel.snapshot = same.model_copy(update={"datasets": (corpus, same.datasets[1])})
        assert [region.height for region in asked] == [1]
        assert asked[0].width < panel.size.width / 2


async def test_a_panel_without_a_snapshot_waits() -> None:
    panel = TriggersPanel()
    async with Stage(panel).run_test(size=(40, 8)):
        assert "waiting for the engine" in "".join(texts(panel.lines()))


async def test_a_stale_panel_is_dimmed_and_shows_its_age() -> None:
    panel = TrafficPanel()
    panel.snapshot = made.soaking()
    async with Stage(panel).run_test(size=(40, 6)) as pilot:
        panel.stale = 41
        await pilot.pause()
        assert "41 s old" in str(panel.border_subtitle)
        styles = {segment.style for line in panel.lines() for segment in line}
        assert styles == {panel.palette.stale}
        panel.stale = None
        await pilot.pause()
        assert panel.border_subtitle is None


async def test_a_failed_panel_says_why() -> None:
    panel = GpusPanel()
    panel.snapshot = made.soaking()
    async with Stage(panel).run_test(size=(40, 8)) as pilot:
        panel.failed = "the snapshot is of a newer schema"
        await pilot.pause()
        assert " ".join("".join(texts(panel.lines())).split()).startswith("✗ the snapshot is")
        assert panel.has_class("-failed")


async def test_a_narrow_panel_still_says_the_figure() -> None:
    panel = TrafficPanel()
    panel.snapshot = made.soaking()
    async with Stage(panel).run_test(size=(36, 5)):
        assert "25 %" in texts(panel.lines())[0]


async def test_enter_and_a_double_click_open_the_screen_of_a_panel() -> None:
    panel = TrafficPanel()
    panel.snapshot = made.soaking()
    app = Hearing(panel)
    async with app.run_test(size=(60, 10)) as pilot:
        panel.focus()
        await pilot.press("enter")
        await pilot.click(TrafficPanel, offset=(5, 1), times=2)
    assert app.heard == ["traffic", "traffic"]


async def test_another_theme_draws_in_its_own_colours() -> None:
    panel = TransferPanel()
    panel.snapshot = made.soaking()
    app = Stage(panel)
    async with app.run_test(size=(60, 10)) as pilot:
        before = panel.lines()
        app.theme = "cutover-16"
        await pilot.pause()
        assert texts(panel.lines()) == texts(before)
        assert panel.lines() != before


async def test_the_overview_hands_the_same_moment_to_every_panel() -> None:
    app = main_screen(made.soaking())
    async with app.run_test(size=(80, 24)) as pilot:
        overview = app.query_one(Overview)
        assert all(panel.snapshot is overview.snapshot for panel in app.query(Panel))
        overview.stale = 12
        overview.gone = "no answer for 12 s"
        await pilot.pause()
        assert "ENGINE GONE  no answer for 12 s" in app.query_one(ReadinessLine).lines()[0].text
        assert "12 s old" in app.query_one(HeadLine).lines()[0].text


async def test_titles_from_outside_are_text_in_the_border() -> None:
    app = main_screen(made.hostile())
    async with app.run_test(size=(80, 24)):
        drawn = app.export_screenshot()
        assert "\x1b" not in drawn
        assert "\\x1b[31mb[red]" in drawn.replace("&#160;", " ")


@pytest.mark.parametrize("size", [(40, 10), (60, 16), (20, 5), (300, 90)])
async def test_terminals_of_odd_sizes_get_a_screen_all_the_same(size: tuple[int, int]) -> None:
    app = main_screen(made.breach())
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        assert app.query_one(ReadinessLine).lines()[0].text.startswith(" ✗ ROLLBACK BLO"[: size[0]])
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert all(line.cell_length <= panel.size.width for panel in app.query(Panel) for line in panel.lines())


PIECES = st.lists(
    st.tuples(st.text(alphabet="ab 日▇", max_size=5), st.sampled_from([Style(), RED, BLUE, RED + Style(bold=True)])), max_size=6
)


@given(pieces=PIECES, width=st.integers(1, 24), ground=st.sampled_from([Style(bgcolor="#102030"), Style(color="#ffffff")]))
def test_a_line_is_laid_on_its_ground_as_textual_does_it(pieces: list[tuple[str, Style]], width: int, ground: Style) -> None:
    line = Strip([Segment(text, style) for text, style in pieces])
    expected = line.apply_style(ground).adjust_cell_length(width, ground)
    panel = TriggersPanel()
    for _ in range(2):  # the second time from what it knows
        assert list(panel._laid_on(ground, line, width)) == list(expected)


@pytest.mark.parametrize(("theme", "passes"), [("cutover-dark", False), ("cutover-16", True)])
async def test_lines_pass_the_filter_of_the_sixteen_colours_only_where_there_are_some(theme: str, passes: bool) -> None:
    panel = TriggersPanel()
    app = Stage(panel)
    app.theme = theme
    async with app.run_test(size=(40, 8)):
        kinds = [type(found) for found in panel.get_line_filters()]
        assert (ANSIToTruecolor in kinds) == (passes and ANSIToTruecolor in [type(found) for found in app.get_line_filters()])
        assert panel.palette.is_true_colour is not passes
