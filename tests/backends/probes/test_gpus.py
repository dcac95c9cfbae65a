"""What nvidia-smi prints: own samples of each oddity, and every recording that is there."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.escape import plain
from backends.probes.gpus import FIELDS, parse_heading, parse_row, query_argv, read_trouble, unknown_field
from backends.probes.xid import xid_words

MIB = 1 << 20
ROW = "3, GPU-5f, 550.90.07, 93, 19818, 81559, 631.95, 700.00, 59, NVIDIA H100 80GB HBM3"


def with_cell(field: str, cell: str) -> str:
    cells = ROW.split(", ")
    cells[FIELDS.index(field)] = cell
    return ", ".join(cells)


def test_a_row_is_read_in_our_units() -> None:
    sample = parse_row(ROW)
    assert sample is not None
    assert (sample.index, sample.uuid, sample.name, sample.driver) == (3, "GPU-5f", "NVIDIA H100 80GB HBM3", "550.90.07")
    assert (sample.utilization, sample.memory_used, sample.memory_total) == (0.93, 19818 * MIB, 81559 * MIB)
    assert (sample.power_w, sample.power_limit_w, sample.temperature_c) == (631.95, 700.0, 59.0)


@pytest.mark.parametrize(
    "cell",
    [
        "[N/A]",
        "N/A",
        "[Not Supported]",
        "[Unknown Error]",
        "[Insufficient Permissions]",
        "ERR!",
        "",
        "[Requested functionality has been deprecated]",
        "nan",
        "inf",
        "9223372036854775794",
        "-9223372036854775808",
        "4294967295",
        "5 apples",
        "٤٢",
    ],
)
@pytest.mark.parametrize(
    ("field", "attribute"),
    [
        ("utilization.gpu", "utilization"),
        ("memory.used", "memory_used"),
        ("power.draw", "power_w"),
        ("power.limit", "power_limit_w"),
        ("temperature.gpu", "temperature_c"),
    ],
)
def test_what_is_no_figure_is_nothing_and_never_zero(field: str, attribute: str, cell: str) -> None:
    sample = parse_row(with_cell(field, cell))
    assert sample is not None
    assert getattr(sample, attribute) is None


@pytest.mark.parametrize(
    ("field", "cell", "attribute", "value"),
    [
        ("utilization.gpu", "100 %", "utilization", 1.0),
        ("utilization.gpu", "0", "utilization", 0.0),
        ("memory.used", "797 MiB", "memory_used", 797 * MIB),
        ("memory.total", "80 GiB", "memory_total", 80 << 30),
        ("power.draw", "228,82", "power_w", 228.82),
        ("power.draw", "39.25 W", "power_w", 39.25),
        ("power.draw", "39250 mW", "power_w", 39.25),
        ("temperature.gpu", "-3", "temperature_c", -3.0),
    ],
)
def test_units_and_commas_are_taken_as_they_come(field: str, cell: str, attribute: str, value: float) -> None:
    sample = parse_row(with_cell(field, cell))
    assert getattr(sample, attribute) == pytest.approx(value)


def test_a_unit_of_another_kind_is_no_figure() -> None:
    sample = parse_row(with_cell("utilization.gpu", "59 MiB"))
    assert sample is not None
    assert sample.utilization is None


def test_a_gpu_without_uuid_is_known_by_its_place() -> None:
    sample = parse_row(with_cell("uuid", "[N/A]"))
    assert sample is not None
    assert sample.uuid == "index 3"


def test_a_name_with_commas_and_escapes_is_shown_harmless() -> None:
    sample = parse_row(with_cell("name", "GPU, the \x1b[31mred\u202e one"))
    assert sample is not None
    assert sample.name == "GPU, the \\x1b[31mred\\u202e one"


def test_a_gpu_that_requires_a_reset_raises_an_alarm_with_its_cure() -> None:
    sample = parse_row(with_cell("utilization.gpu", "[GPU requires reset]"))
    assert sample is not None
    assert sample.alarm == "requires a reset: drain it, then nvidia-smi --gpu-reset -i 3"


@pytest.mark.parametrize("cut", range(0, ROW.index("NVIDIA") - 1, 7))
def test_a_piece_of_a_row_is_no_row(cut: int) -> None:
    assert parse_row(ROW[:cut]) is None


def test_a_heading_is_no_row() -> None:
    assert parse_row(", ".join(FIELDS)) is None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_no_text_breaks_the_parser_and_nothing_impossible_comes_out(text: str) -> None:
    for line in (text, with_cell("power.draw", text), with_cell("utilization.gpu", text), with_cell("name", text)):
        sample = parse_row(line)
        if sample is not None:
            assert plain(sample.name) == sample.name
            assert sample.utilization is None or 0 <= sample.utilization <= 1
            assert sample.power_w is None or 0 <= sample.power_w < 1e6
    message = read_trouble(text, 1).message
    assert plain(message) == message


@pytest.mark.parametrize(
    ("line", "driver", "cuda"),
    [
        ("| NVIDIA-SMI 460.32.03    Driver Version: 460.32.03    CUDA Version: 11.2     |", "460.32.03", "11.2"),
        ("| NVIDIA-SMI 610.62     KMD Version: 610.62        CUDA UMD Version: 13.3     |", "610.62", "13.3"),
        ("| NVIDIA-SMI 550.1    Driver Version: 550.1    CUDA Version: N/A      |", "550.1", None),
        ("CUDA Version        : Deprecated, see CUDA UMD Version", None, None),
        ("", None, None),
    ],
)
def test_the_heading_tells_driver_and_cuda(line: str, driver: str | None, cuda: str | None) -> None:
    heading = parse_heading(line)
    assert (heading.driver, heading.cuda) == (driver, cuda)


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.124", 18, "driver_mismatch"),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 9, "no_driver"),
        ("No devices were found", 6, "no_gpus"),
        ("Unable to determine the device handle for GPU0000:0B:00.0: Unknown Error", 15, "gpu_lost"),
        ("sh: 1: nvidia-smi: not found", 127, "no_nvidia_smi"),
        ("bash: line 1: nvidia-smi: command not found", 127, "no_nvidia_smi"),
        ("zsh:1: command not found: nvidia-smi", 127, "no_nvidia_smi"),
        ("", 127, "no_nvidia_smi"),
        ("", 16, "gpu_reset"),
        ("Failed to initialize NVML: Insufficient Permissions", 4, "no_permission"),
        ("what \x1b[2Jis this", 77, "nvidia_smi_failed"),
        ("", 0, "nvidia_smi_failed"),
    ],
)
def test_words_in_place_of_figures_have_a_name(said: str, status: int, code: str) -> None:
    trouble = read_trouble(said, status)
    assert trouble.code == code
    assert "\x1b" not in trouble.message
    assert "\n" not in trouble.message


def test_a_field_that_is_not_known_is_named() -> None:
    assert unknown_field('Field "power.limit" is not a valid field to query.') == "power.limit"
    assert unknown_field("No devices were found") is None


def test_the_loop_is_nvidia_smis_own() -> None:
    assert query_argv(every=2.0)[-2:] == ["-l", "2"]
    assert query_argv(every=0.5)[-2:] == ["-lms", "500"]
    assert query_argv()[-1] == "--format=csv,noheader,nounits"


def recorded(path: Path) -> list[dict[str, str]]:
    """Rows of a recording by field, units cut from the heading."""
    heading, *rows = csv.reader(path.read_text("utf-8").splitlines(), skipinitialspace=True)
    return [dict(zip((field.split(" [")[0] for field in heading), row, strict=True)) for row in rows]


@pytest.mark.parametrize(
    ("file", "driver", "utilization", "total"),
    [
        ("h100-sxm.query-gpu.load.csv", "590.48.01", 1.0, 81559),
        ("h100-mig.query-gpu.csv", "590.48.01", None, 81559),
        ("l40s.query-gpu.load.csv", "595.80", 0.09, 46068),
        ("rtx2080s-windows-610.query-gpu.csv", "610.62", 0.0, 8192),
    ],
)
def test_recorded_rows_are_read(recordings: Path, file: str, driver: str, utilization: float | None, total: int) -> None:
    for cells in recorded(recordings / "nvidia-smi" / file):
        sample = parse_row(", ".join(cells[field] for field in FIELDS))
        assert sample is not None
        assert (sample.driver, sample.utilization, sample.memory_total) == (driver, utilization, total * MIB)
        assert sample.power_w is not None
        assert sample.temperature_c is not None
        assert sample.alarm is None


@pytest.mark.parametrize(
    ("file", "driver", "cuda"),
    [
        ("h100-sxm.table.load.txt", "590.48.01", "13.1"),
        ("h100-mig.table.txt", "590.48.01", "13.1"),
        ("rtx2080s-windows-610.table.txt", "610.62", "13.3"),
    ],
)
def test_recorded_headings_are_read(recordings: Path, file: str, driver: str, cuda: str) -> None:
    heading = parse_heading((recordings / "nvidia-smi" / file).read_text())
    assert (heading.driver, heading.cuda) == (driver, cuda)


def test_every_recorded_table_has_a_driver_and_cuda(recordings: Path) -> None:
    for path in sorted((recordings / "nvidia-smi").glob("*.table*.txt")):
        heading = parse_heading(path.read_text())
        assert heading.driver, path.name
        assert heading.cuda, path.name


def test_recorded_fields_that_need_a_reset_raise_the_alarm(recordings: Path) -> None:
    (cells,) = recorded(recordings / "nvidia-smi" / "messages" / "requires-reset.csv")
    sample = parse_row(", ".join(cells.get(field, "[N/A]") for field in FIELDS))
    assert sample is not None
    assert sample.alarm is not None
    assert "reset" in sample.alarm
    assert sample.utilization is None


def test_recorded_words_have_the_name_of_their_exit_code(recordings: Path) -> None:
    folder = recordings / "nvidia-smi" / "messages"
    names = {6: "no_gpus", 9: "no_driver", 15: "gpu_lost", 18: "driver_mismatch"}
    seen = 0
    for line in csv.DictReader((folder / "exit_codes.csv").read_text().splitlines()):
        for file in (line["files"] or "").split():
            if file.startswith("..") or int(line["code"]) not in names:
                continue
            seen += 1
            assert read_trouble((folder / file).read_text(), int(line["code"])).code == names[int(line["code"])]
            assert read_trouble((folder / file).read_text(), 1).code == names[int(line["code"])]
    assert seen >= 5


def test_a_recorded_unknown_error_is_no_figure_and_its_neighbours_are(recordings: Path) -> None:
    (cells,) = recorded(recordings / "nvidia-smi" / "messages" / "unknown-error.csv")
    assert cells["power.default_limit"] == "[Unknown Error]"
    sample = parse_row(
        ", ".join({"index": "0", **cells, "power.limit": cells["power.default_limit"]}.get(f, "[N/A]") for f in FIELDS)
    )
    assert sample is not None
    assert (sample.utilization, sample.power_w, sample.power_limit_w, sample.temperature_c) == (1.0, 228.82, None, 56.0)


def test_a_recorded_err_in_a_table_is_no_figure(recordings: Path) -> None:
    text = (recordings / "nvidia-smi" / "messages" / "err-in-table-rows.txt").read_text()
    found = re.search(r"(\S+) / 250W", text)
    assert found is not None
    sample = parse_row(with_cell("power.draw", found.group(1)))
    assert sample is not None
    assert sample.power_w is None


def test_what_ended_with_a_corrupted_inforom_is_named(recordings: Path) -> None:
    text = (recordings / "nvidia-smi" / "v100-x8-inforom-warning.table.txt").read_text()
    assert read_trouble(text.splitlines()[-1], 14).code == "inforom"
    assert parse_heading(text).driver


@pytest.mark.parametrize(("file", "wanted"), [("messages/xid-79.kernel.log", {79}), ("dmesg.xid-119.log", {119})])
def test_every_recorded_xid_is_an_alarm_with_its_cure(recordings: Path, file: str, wanted: set[int]) -> None:
    text = (recordings / "nvidia-smi" / file).read_text()
    assert {int(number) for number in re.findall(r"Xid \(PCI:[0-9a-f:]+\): (\d+)", text)} == wanted
    for number in wanted:
        assert re.fullmatch(rf"Xid {number}, .+: (drain|replace|reset).+", xid_words(number, alarms_only=True))
    if 79 in wanted:
        assert read_trouble(text, 1).code == "gpu_lost"


def test_no_recording_breaks_the_parser(recordings: Path) -> None:
    for path in sorted((recordings / "nvidia-smi").rglob("*.*")):
        text = path.read_text("utf-8", "replace")
        samples = [sample for line in text.splitlines() if (sample := parse_row(line))]
        assert samples == [] or path.suffix == ".csv", path.name
        parse_heading(text)
        assert read_trouble(text, 1).message
