"""What an operator reads from the panels of the main screen."""

from __future__ import annotations

import pytest

from backends.snapshot import DatasetView, Lag, Level, RouteView, TriggerView
from backends.verdict import Verdict
from tests.fixtures import snapshots as made
from tests.widgets.stage import ASCII_PALETTE, PALETTE, texts
from widgets.events import event_rows
from widgets.figures import change, eta, watch
from widgets.fitting import left_out, shown_first
from widgets.gpus import gpu_rows, heat_cells, side_figures
from widgets.headline import head_line, next_line
from widgets.traffic import route_level, traffic_rows
from widgets.transfer import detail_rows, fraction_done, transfer_rows
from widgets.triggers import gates_word, trigger_level, trigger_rows
from widgets.validation import first_to_show, other_line, validation_rows

LEFT, RIGHT = 34, 38  # inner widths at 80 columns


def test_the_head_names_migration_state_seat_and_time() -> None:
    line = head_line(made.soaking(), PALETTE, 80).text
    assert line.startswith(" chat-2026 ▸ soaking 25 %")
    assert "seat ops@bastion1" in line
    assert line.rstrip().endswith("03:12:44 UTC")


def test_simulation_is_never_cut_however_long_the_name() -> None:
    worst = made.hostile().model_copy(update={"name": "a" * 40, "blind": True})
    line = head_line(worst, PALETTE, 80).text
    assert "SIMULATION" in line
    assert "HELD" in line
    assert "03:12:44 UTC" in line


def test_a_head_without_news_shows_the_age_in_place_of_the_time() -> None:
    line = head_line(made.soaking(), PALETTE, 80, old=41).text
    assert "41 s old" in line
    assert "UTC" not in line


def test_the_next_line_says_who_holds_and_since_when() -> None:
    assert "! held 31 s by trigger errors: 0.41 %" in next_line(made.breach(), PALETTE, 80).text


def test_the_next_line_says_what_would_allow_the_next_step() -> None:
    line = next_line(made.preparing(), PALETTE, 110).text
    assert "advance waits: 3 of 5 gates of staging passed" in line
    assert "corpus verified" in line


def test_the_next_line_follows_the_step_that_runs() -> None:
    assert "step 2 of 3  chat: 25 % seen by 3 resolvers (1 of 3)" in next_line(made.shifting(), PALETTE, 110).text


def test_a_journal_that_cannot_be_written_is_said_before_all_else() -> None:
    broken = made.breach().model_copy(update={"journal_ok": False, "journal_note": "disk full"})
    assert "JOURNAL cannot be written: disk full" in next_line(broken, PALETTE, 80).text


def test_traffic_shows_desired_and_observed_with_the_soak() -> None:
    lines = texts(traffic_rows(made.soaking().routes, PALETTE, LEFT, 3))
    assert lines[0] == "chat legacy ▇▇▇▇▇▇▄▄ target  25 %"
    assert "observed 25 %  soak 6:10/15m" in lines[1]
    assert lines[2].startswith("jobs legacy")


def test_a_route_that_somebody_else_changed_is_held_and_says_so() -> None:
    route = RouteView(name="chat", workload="chat", kind="haproxy", desired=25, observed=40, foreign="40 %")
    assert route_level(route).value == "held"
    assert "set by somebody else: 40 %" in "".join(texts(traffic_rows([route], PALETTE, 60, 3)))


def test_a_weight_that_is_not_observed_is_a_dash() -> None:
    route = RouteView(name="chat", workload="chat", kind="haproxy", desired=0)
    assert "observed -" in "".join(texts(traffic_rows([route], PALETTE, LEFT, 3)))


def test_a_breach_shows_at_which_value_against_which_limit() -> None:
    lines = texts(trigger_rows(made.breach().triggers, PALETTE, RIGHT, 4))
    assert lines[0].startswith("✗ errors     0.41 %  of 0.1 %")
    assert lines[1].startswith("✓ latency    +3.1 %  of +25 %")
    assert lines[2].startswith("? loss      10 of 100 epochs")


def test_a_trigger_with_old_data_shows_its_age_in_place_of_its_limit() -> None:
    lines = texts(trigger_rows(made.silent_hosts().triggers, PALETTE, RIGHT, 4))
    assert "41 s old" in lines[0]


def test_a_breach_is_never_among_those_left_out() -> None:
    triggers = made.fleet().triggers
    shown = shown_first(triggers, 6, trigger_level)
    assert {t.verdict for t in shown} == {Verdict.BREACH}
    hidden = left_out(triggers, 6, trigger_level)
    assert len(shown) + len(hidden) == len(triggers)
    assert not any(level.value == "breach" for level in hidden)


def test_what_is_shown_keeps_the_order_of_the_plan() -> None:
    triggers = made.fleet().triggers
    shown = shown_first(triggers, 9, trigger_level)
    assert shown == [t for t in triggers if t in shown]


def test_an_absolute_limit_has_no_sign_and_a_change_has_one() -> None:
    absolute = TriggerView(
        name="p99", measure="m", verdict=Verdict.PASS, value=0.087, limit=0.1, unit="seconds", compared_with="absolute limit"
    )
    relative = TriggerView(name="p99", measure="m", verdict=Verdict.PASS, value=0.05, limit=0.25, compared_with="legacy now")
    lines = texts(trigger_rows([absolute, relative], PALETTE, 60, 2))
    assert "87 ms  of 100 ms" in lines[0]
    assert "+5.0 %  of +25 %" in lines[1]


def test_the_gates_of_the_phase_are_counted() -> None:
    assert gates_word(made.preparing().gates, PALETTE) == "? gates staging 3 of 5"
    assert gates_word(made.soaking().gates, PALETTE) == "✓ gates staging 5 of 5"
    assert gates_word((), PALETTE) == ""


def test_transfer_shows_share_bytes_rate_eta_and_lag() -> None:
    lines = texts(transfer_rows(made.soaking().datasets, PALETTE, LEFT, 5))
    assert lines[0].rstrip().endswith("93.1 %")
    assert lines[1] == "  11.2 of 12.0 TiB  1.84 Gbps"
    assert lines[2].startswith("  ETA 58 min ±6")
    assert "lag 848 GiB 41m" in lines[2]
    assert lines[3].rstrip().endswith("in sync")
    assert lines[4].startswith("  proven 4,112  failed 0")


def test_progress_never_says_more_than_all_of_it() -> None:
    dataset = DatasetView(name="c", source="a", target="b", status="copying", bytes_total=100, bytes_done=130)
    assert fraction_done(dataset) == 1.0


def test_a_dataset_that_never_ends_says_so() -> None:
    dataset = DatasetView(
        name="c", source="a", target="b", status="copying", bytes_total=100, bytes_done=1, eta_never=True, lag=Lag(objects=9)
    )
    assert "ETA never at this rate" in "".join(texts(transfer_rows([dataset], PALETTE, LEFT, 4)))


def test_a_failed_object_is_named_before_anything_else_of_its_dataset() -> None:
    lines = texts(transfer_rows(made.hostile().datasets, PALETTE, 80, 4))
    assert "failed 2" in lines[1]


def test_what_flows_back_is_shown_as_reverse_lag() -> None:
    joined = "\n".join(texts(transfer_rows(made.rollback_blocked().datasets, PALETTE, LEFT, 5)))
    assert "← reverse lag 9.00 GiB 41s" in joined


def test_gpus_of_both_sides_stand_beside_each_other() -> None:
    lines = texts(gpu_rows(made.soaking().hosts, PALETTE, RIGHT, 4))
    assert lines[0].startswith("util   ▇▇▇▇▇▇▇▅  95 %")
    assert "2.9 of 3.2 kW" in lines[2]
    assert "5.0 of 5.6 kW" in lines[2]
    assert lines[3].split() == ["hosts", "1", "live", "1", "live"]


def test_a_side_that_is_silent_shows_since_when() -> None:
    line = texts(gpu_rows(made.silent_hosts().hosts, PALETTE, RIGHT, 4))[3]
    assert "! 1 late 7s" in line
    assert "✗ 1 silent 41s" in line


def test_power_of_some_gpus_alone_is_not_shown_as_all() -> None:
    host = made.hosts()[0]
    gpus = (*host.gpus[:7], host.gpus[7].model_copy(update={"power_w": None}))
    assert side_figures([host.model_copy(update={"gpus": gpus})], "legacy").power_w is None


def test_large_panels_show_every_gpu_and_fleets_every_host() -> None:
    one = texts(gpu_rows(made.soaking().hosts, PALETTE, 100, 16))
    assert sum(" 7 " in line for line in one) == 1
    fleet = texts(gpu_rows(made.fleet().hosts, PALETTE, 100, 30))
    assert any("leg-015" in line and "tgt-015" in line for line in fleet)


def test_validation_shows_the_points_of_the_loss() -> None:
    line = texts(validation_rows(made.soaking().validation, PALETTE, 76, 1))[0]
    assert line.startswith("epoch 10  3.291 → 3.294  +0.10 % ✓")
    assert "50 waiting (at 39)" in line
    assert line.rstrip().endswith("100 waiting"), "how far target is, is told once"


def test_the_figures_of_comparisons_stand_under_each_other() -> None:
    view = made.latency(0.4)
    views = [
        view.model_copy(update={"measure": m, "legacy_value": v, "target_value": v}) for m, v in (("a", 0.4), ("bb", 1234.0))
    ]
    lines = [other_line(v, PALETTE, 80, 4).text for v in views]
    assert len({line.index("→") for line in lines}) == 1
    assert len({line.index(" of ") for line in lines}) == 1


def test_a_breach_is_shown_before_the_loss() -> None:
    views = (made.loss(), made.latency(0.4))
    shown = first_to_show(views)
    assert shown is not None
    assert shown.measure == "chat-latency"


def test_large_validation_overlays_both_curves_and_names_them() -> None:
    lines = texts(validation_rows(made.soaking().validation, PALETTE, 116, 8))
    assert any("⠤" in line or "⣀" in line for line in lines)
    assert any("legacy" in line and "target" in line for line in lines)


def test_events_come_newest_first_and_the_fresh_are_marked() -> None:
    snapshot = made.breach()
    lines = event_rows(snapshot.events, snapshot.at, PALETTE, 80, 3)
    assert texts(lines)[0].startswith("03:12:40 ! legacy silent 71 s: holding")
    first = next(iter(lines[0]))
    assert first.style is not None
    assert first.style.bold


def test_rounds_that_a_later_one_made_old_do_not_push_out_what_matters() -> None:
    rounds = [made.event(10 + i, 60 - i, f"sync ckpt: {i} copied, {i} of {i} proven", kind="sync.round") for i in range(9)]
    held = made.event(9, 70, "held by trigger loss", level=Level.HELD)
    back = made.event(8, 80, "sync ckpt back to legacy: 2 copied", kind="sync.round")
    failed = made.event(7, 90, "sync ckpt: 1 failed", kind="sync.round", level=Level.BREACH)
    said = texts(event_rows((*rounds, held, back, failed), made.AT, PALETTE, 80, 9))
    assert [line[11:].strip() for line in said] == [
        "sync ckpt: 8 copied, 8 of 8 proven", "held by trigger loss", "sync ckpt back to legacy: 2 copied", "sync ckpt: 1 failed",
    ]  # fmt: skip


def test_a_soak_that_is_over_stays_at_its_end() -> None:
    assert watch(7, 6) == "6s/6s"
    assert watch(1000, 900) == "15:00/15m"


def test_a_change_that_is_rounded_to_nothing_has_no_sign() -> None:
    assert [change(x) for x in (-0.00001, 0.00001, 0.0, -0.0002, 0.031)] == ["0.00 %", "0.00 %", "0 %", "-0.02 %", "+3.1 %"]


def test_the_same_time_is_not_called_a_range() -> None:
    assert eta(0.6, 1.4) == "ETA 1 s"
    assert eta(1, 40) == "ETA 1 s to 40 s"


@pytest.mark.parametrize("width", [34, 40, 60])
def test_a_lag_is_never_cut_in_the_middle(width: int) -> None:
    data = made.datasets()[0].model_copy(update={"eta_low": 8000.0, "eta_high": 30000.0, "lag_trend": "shrinking"})
    for seconds in (None, 8.0, 6000.0, 90000.0):
        lag = Lag(objects=3, bytes=9 << 20, seconds=seconds)
        for row in (r.text() for r in detail_rows(data.model_copy(update={"lag": lag}), PALETTE, width)):
            assert "lag" not in row or len(row) <= width, row


def test_panels_of_a_plan_with_nothing_say_what_is_not_there() -> None:
    assert "no routes" in texts(traffic_rows((), PALETTE, LEFT, 3))[0]
    assert "nothing guards" in " ".join(texts(trigger_rows((), ASCII_PALETTE, RIGHT, 4)))
    assert "no datasets" in texts(transfer_rows((), PALETTE, LEFT, 3))[0]
    assert "no hosts" in texts(gpu_rows((), PALETTE, RIGHT, 4))[0]
    assert "nothing is compared" in texts(validation_rows((), PALETTE, 76, 1))[0]
    assert "nothing has happened" in texts(event_rows((), made.AT, PALETTE, 80, 3))[0]


def test_routes_at_different_weights_are_told_as_a_range() -> None:
    chat, jobs = made.soaking().routes
    both = made.soaking().model_copy(update={"routes": (chat, jobs.model_copy(update={"desired": 100}))})
    assert "soaking 25 to 100 %" in head_line(both, PALETTE, 80).text


def test_a_listing_counts_what_it_has_seen_and_promises_nothing() -> None:
    dataset = DatasetView(name="c", source="a", target="b", status="listing", listed=1234)
    joined = "".join(texts(transfer_rows([dataset], PALETTE, LEFT, 4)))
    assert "listed 1,234" in joined
    assert "ETA" not in joined


def test_a_breach_without_a_figure_gives_its_reason_loudly() -> None:
    trigger = TriggerView(name="loss", measure="loss", verdict=Verdict.BREACH, limit=0.01, reason="NaN at epoch 51")
    line = trigger_rows([trigger], PALETTE, RIGHT, 1)[0]
    assert "NaN at epoch 51" in line.text
    assert any("NaN" in s.text and s.style == PALETTE.breach for s in line)


def test_a_host_of_sixteen_gpus_fits_in_eight_cells_and_hides_no_alarm() -> None:
    host = made.hosts()[1]
    sick = host.gpus[7].model_copy(update={"alarm": "fell off the bus"})
    many = host.model_copy(update={"gpus": (*host.gpus[:7], sick, *host.gpus)})
    row = heat_cells(many, PALETTE)
    assert row.used == 8
    assert any(s.style == PALETTE.breach for s in row.strip(8))
