"""GPUs of hosts that our agent cannot read: documents of nvidia-smi, dcgm-exporter, rocm-smi, this machine by pynvml."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from backends.probes import other_sources
from backends.probes.amd import BadAnswer as NoAmdAnswer
from backends.probes.amd import gpus_of, rows_of
from backends.probes.dcgm import parse_dcgm
from backends.probes.fleet import GpuFleet
from backends.probes.other_sources import SLOW_PERIOD
from backends.probes.rocm import BadAnswer, parse_rocm
from backends.probes.smi_xml import BadDocument, parse_xml
from backends.ssh.models import SshHost, SshSettings
from backends.ssh.pool import SshPool
from tests.backends.probes.test_agent import until
from tests.peers.fake_nvml import GIB, fake_nvml
from tests.peers.nvidia_smi import FakeSmi
from tests.peers.openssh import OpenSsh
from tests.peers.process import free_ports

MIB = 1 << 20
DOCUMENT = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
  <driver_version>535.54.03</driver_version><cuda_version>12.2</cuda_version><attached_gpus>2</attached_gpus>
  <gpu id="00000000:01:00.0">
    <product_name>NVIDIA A100-SXM4-80GB</product_name><uuid>GPU-5135</uuid>
    <persistence_mode>Disabled</persistence_mode><performance_state>P0</performance_state><fan_speed>N/A</fan_speed>
    <mig_mode><current_mig>Enabled</current_mig></mig_mode>
    <mig_devices><mig_device><gpu_instance_id>3</gpu_instance_id><compute_instance_id>0</compute_instance_id>
      <fb_memory_usage><total>19968 MiB</total><used>12 MiB</used></fb_memory_usage></mig_device></mig_devices>
    <gpu_reset_status><reset_required>No</reset_required></gpu_reset_status>
    <clocks_event_reasons><clocks_event_reason_sw_power_cap>Active</clocks_event_reason_sw_power_cap>
      <clocks_event_reason_hw_thermal_slowdown>Not Active</clocks_event_reason_hw_thermal_slowdown></clocks_event_reasons>
    <fb_memory_usage><total>81920 MiB</total><used>50 MiB</used></fb_memory_usage>
    <utilization><gpu_util>N/A</gpu_util><memory_util>7 %</memory_util></utilization>
    <ecc_errors><volatile><sram_correctable>0</sram_correctable><dram_correctable>4</dram_correctable>
      <sram_uncorrectable>0</sram_uncorrectable><dram_uncorrectable>0</dram_uncorrectable></volatile></ecc_errors>
    <temperature><gpu_temp>27 C</gpu_temp><memory_temp>44 C</memory_temp></temperature>
    <gpu_power_readings><instant_power_draw>67.03 W</instant_power_draw><current_power_limit>500.00 W</current_power_limit></gpu_power_readings>
    <clocks><sm_clock>1275 MHz</sm_clock></clocks>
    <processes><process_info><pid>7</pid><process_name>python train.py</process_name><used_memory>1024 MiB</used_memory></process_info></processes>
  </gpu>
  <gpu id="00000000:02:00.0"><gpu_reset_status><reset_required>Yes</reset_required></gpu_reset_status></gpu>
</nvidia_smi_log>
"""
DCGM = """# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",DCGM_FI_DRIVER_VERSION="550.90"} 87
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-a",modelName="NVIDIA H100 80GB HBM3"} 40000
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-a",modelName="NVIDIA H100 80GB HBM3"} 41000
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a",modelName="x"} 512.5
DCGM_FI_DEV_MEMORY_TEMP{gpu="0",UUID="GPU-a",modelName="x"} 9223372036854775794
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-a",modelName="x"} 2147483632
DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="GPU-a",err_code="79",err_msg="GPU has fallen off the bus"} 79
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",GPU_I_PROFILE="1g.10gb",GPU_I_ID="7"} 3
something_else{gpu="0"} 1
"""
ROCM = {
    "card1": {
        "Unique ID": "0x79cc",
        "Card series": "Instinct MI100",
        "GPU use (%)": "37",
        "0": "16.0GT/s x16 *",
        "Temperature (Sensor junction) (C)": "55.0",
        "Temperature (Sensor memory) (C)": "N/A",
        "Average Graphics Package Power (W)": "36.0",
        "Max Graphics Package Power (W)": "290.0",
        "VRAM Total Memory (B)": "34342961152",
        "VRAM Total Used Memory (B)": "6750208",
        "sclk clock speed:": "(300Mhz)",
    },
    "system": {"Driver version": "6.3.6"},
}


# As amd-smi of ROCm 7.2 writes them: values with units, bare ones, "N/A"; ROCm 6 has the rows without `gpu_data`.
AMD_METRIC = {
    "gpu_data": [
        {
            "gpu": 0,
            "usage": {
                "gfx_activity": {"value": 94, "unit": "%"},
                "umc_activity": {"value": 61, "unit": "%"},
                "mm_activity": "N/A",
                "vcn_activity": [{"value": 12, "unit": "%"}, "N/A"],
            },
            "power": {"socket_power": {"value": 612, "unit": "W"}, "gfx_voltage": "N/A", "throttle_status": "THROTTLED"},
            "clock": {
                "gfx_0": {
                    "clk": {"value": 2105, "unit": "MHz"},
                    "max_clk": {"value": 2100, "unit": "MHz"},
                    "clk_locked": "DISABLED",
                },
                "mem_0": {"clk": {"value": 1300, "unit": "MHz"}},
            },
            "temperature": {"edge": "N/A", "hotspot": {"value": 71, "unit": "C"}, "mem": {"value": 58, "unit": "C"}},
            "pcie": {"width": 16, "speed": {"value": 32, "unit": "GT/s"}, "bandwidth": {"value": 25, "unit": "Mb/s"}},
            "ecc": {"total_correctable_count": 3, "total_uncorrectable_count": 0, "total_deferred_count": 0},
            "fan": {"speed": "N/A", "usage": "N/A"},
            "mem_usage": {"total_vram": {"value": 196592, "unit": "MB"}, "used_vram": {"value": 17153, "unit": "MB"}},
        },
        {
            "gpu": 1,
            "usage": {"gfx_activity": "N/A", "mm_activity": "N/A", "vcn_activity": "N/A"},
            "power": {"socket_power": "N/A", "throttle_status": "UNTHROTTLED"},
            "temperature": {"edge": {"value": 44, "unit": "C"}, "hotspot": "N/A"},
            "ecc": {"total_correctable_count": "N/A", "total_uncorrectable_count": 2},
            "mem_usage": "N/A",
        },
    ]
}
AMD_STATIC = {
    "gpu_data": [
        {
            "gpu": index,
            "asic": {"market_name": "AMD Instinct MI300X", "asic_serial": f"0x7a2{'ab'[index]}"},
            "limit": {
                "ppt0": {"max_power_limit": {"value": 750, "unit": "W"}, "socket_power_limit": {"value": 750, "unit": "W"}}
            },
            "driver": {"name": "amdgpu", "version": "6.12.12"},
            "vram": {"type": "HBM3", "size": {"value": 196592, "unit": "MB"}},
        }
        for index in (0, 1)
    ]
}
AMD_LIST = [{"gpu": 0, "bdf": "0000:05:00.0", "uuid": "e8ff74a1-0000-1000-8000-a1b2c3d4e5f6"}, {"gpu": 1, "uuid": "N/A"}]
AMD_PROCESS = [
    {
        "gpu": 0,
        "process_list": [
            {"process_info": {"name": "rocm-agent", "pid": 12, "mem_usage": {"value": "N/A", "unit": "B"}}},
            {"process_info": {"name": "python3", "pid": 4711, "memory_usage": {"vram_mem": {"value": 17179869184, "unit": "B"}}}},
        ],
    },
    {"gpu": 1, "process_list": [{"process_info": "No running processes detected"}]},
]


def test_a_document_is_read_in_our_units() -> None:
    heading, [(sample, detail), (other, _)] = parse_xml(DOCUMENT)
    assert (heading.driver, heading.cuda) == ("535.54.03", "12.2")
    shown = (
        sample.index,
        sample.uuid,
        sample.utilization,
        sample.memory_used,
        sample.power_w,
        sample.power_limit_w,
        sample.temperature_c,
    )
    assert shown == (0, "GPU-5135", None, 50 * MIB, 67.03, 500.0, 27.0)
    assert (detail.throttled, detail.ecc_corrected, detail.ecc_uncorrected, detail.memory_utilization) == (
        ("power cap",),
        4,
        0,
        0.07,
    )
    assert (detail.mig_mode, detail.mig[0].name, detail.mig[0].memory_total) == (True, "GI 3 CI 0", 19968 * MIB)
    assert detail.processes is not None
    assert (detail.processes[0].pid, detail.processes[0].memory, detail.processes[0].command) == (7, GIB, "python train.py")
    assert (detail.fan, detail.pstate, detail.persistence, detail.clock_mhz) == (None, 0, False, 1275)
    assert (other.uuid, other.alarm) == ("index 1", "requires a reset: drain it, then nvidia-smi --gpu-reset -i 1")


@pytest.mark.parametrize("text", ["", "NVIDIA-SMI has failed", "<nvidia_smi_log>", DOCUMENT.replace("<gpu ", "<gpu <", 1)])
def test_what_is_no_document_is_told(text: str) -> None:
    with pytest.raises(BadDocument):
        parse_xml(text)


def test_a_document_with_entities_of_its_own_is_refused() -> None:
    bomb = DOCUMENT.replace('"nvsmi_device_v12.dtd">', '"x" [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>')
    with pytest.raises(BadDocument):
        parse_xml(bomb)


def test_every_recorded_document_is_read(recordings: Path) -> None:
    files = sorted((recordings / "nvidia-smi").glob("*.xml"))
    assert len(files) >= 6
    for path in files:
        _, gpus = parse_xml(path.read_text())
        assert gpus, path.name
        for sample, detail in gpus:
            assert sample.name
            assert sample.utilization is None or 0 <= sample.utilization <= 1
            assert sample.memory_used is None or sample.memory_total is None or sample.memory_used <= sample.memory_total
            assert detail.pstate is None or 0 <= detail.pstate <= 15
    _, [(new, _)] = parse_xml((recordings / "nvidia-smi" / "rtx3080.dtd13.xml").read_text())
    assert (new.power_w, new.power_limit_w, new.utilization) == (142.33, 320.0, 0.65), "DTD 13 has no power_draw"
    _, [(_, mig)] = parse_xml((recordings / "nvidia-smi" / "a100-sxm-80gb-mig.dtd12.xml").read_text())
    assert [device.memory_total for device in mig.mig] == [19968 * MIB] * 4


def test_a_page_of_dcgm_is_read_and_its_blanks_are_none() -> None:
    [(sample, detail)] = parse_dcgm(DCGM)
    assert (sample.uuid, sample.utilization, sample.power_w, sample.driver) == ("GPU-a", 0.87, 512.5, "550.90")
    assert (sample.memory_used, sample.memory_total) == (40000 * MIB, 81000 * MIB)
    assert (detail.memory_temperature_c, detail.clock_mhz, detail.xid) == (None, None, 79)
    assert "fallen off the bus" in (sample.alarm or "")


def test_the_recorded_page_of_dcgm_has_no_temperature(recordings: Path) -> None:
    [(_, detail)] = parse_dcgm((recordings / "nvidia-smi" / "dcgm-exporter.sentinel.prom").read_text())
    assert (detail.clock_mhz, detail.memory_clock_mhz, detail.memory_temperature_c) == (139, 405, None)


def test_an_answer_of_rocm_is_read() -> None:
    driver, [(sample, detail)] = parse_rocm("WARNING: x\n" + json.dumps(ROCM))
    assert (driver, sample.index, sample.uuid, sample.name) == ("6.3.6", 1, "0x79cc", "Instinct MI100")
    assert (sample.utilization, sample.power_w, sample.power_limit_w, sample.temperature_c) == (0.37, 36.0, 290.0, 55.0)
    assert (sample.memory_used, detail.memory_temperature_c, detail.clock_mhz) == (6750208, None, 300)


def test_an_answer_of_amd_smi_is_read_and_what_it_does_not_know_is_none() -> None:
    answers = [rows_of(json.dumps(answer)) for answer in (AMD_METRIC, AMD_STATIC, AMD_LIST, AMD_PROCESS)]
    [(sample, detail), (other, bare)] = gpus_of(*answers)
    shown = (sample.name, sample.driver, sample.utilization, sample.power_w, sample.power_limit_w, sample.temperature_c)
    assert shown == ("AMD Instinct MI300X", "6.12.12", 0.94, 612.0, 750.0, 71.0)
    assert (sample.memory_used, sample.memory_total) == (17153 * MIB, 196592 * MIB)
    assert (detail.memory_utilization, detail.encoder, detail.memory_temperature_c) == (0.61, 0.12, 58.0)
    assert (detail.clock_mhz, detail.clock_max_mhz, detail.memory_clock_mhz, detail.throttled) == (
        2105,
        2100,
        1300,
        ("throttled",),
    )
    assert (detail.ecc_corrected, detail.ecc_uncorrected, detail.pcie_generation, detail.pcie_width, detail.fan) == (
        3,
        0,
        5,
        16,
        None,
    )
    assert detail.processes is not None
    assert [(p.pid, p.memory, p.command) for p in detail.processes] == [(4711, 16 * GIB, "python3"), (12, None, "rocm-agent")]
    assert (other.utilization, other.power_w, other.power_limit_w, other.temperature_c) == (None, None, 750.0, 44.0)
    assert (other.uuid, bare.processes, bare.encoder, bare.throttled) == ("0x7a2b", (), None, ())


def test_the_older_form_of_amd_smi_is_read_without_what_stands_still() -> None:
    older = [
        {
            "gpu": 0,
            "usage": {"gfx_activity": 50},
            "power": {"average_socket_power": "90"},
            "mem_usage": {"used_vram": {"value": 4}},
        }
    ]
    [(sample, detail)] = gpus_of(rows_of(json.dumps(older)), {}, {}, {})
    assert (sample.uuid, sample.utilization, sample.power_w, sample.memory_used, detail.processes) == (
        "index 0",
        0.5,
        90.0,
        4 * MIB,
        None,
    )


def test_the_recorded_answer_of_rocm_is_read(recordings: Path) -> None:
    driver, gpus = parse_rocm((recordings / "nvidia-smi" / "rocm-smi.mi100.rocm602.json").read_text())
    assert driver == "6.3.6"
    assert len({sample.uuid for sample, _ in gpus}) == len(gpus) > 1
    assert all(sample.memory_total == 34342961152 and sample.power_w is not None for sample, _ in gpus)


@given(st.text(max_size=300))
def test_rubbish_never_breaks_a_parser(text: str) -> None:
    parse_dcgm(text)
    parse_dcgm(f'DCGM_FI_DEV_GPU_UTIL{{gpu="0",UUID="{text}"}} {text}')
    for broken in (
        lambda: parse_xml(text),
        lambda: parse_rocm(text),
        lambda: gpus_of(rows_of(text), {}, {}, {}),
        lambda: gpus_of(rows_of(json.dumps([{"gpu": 0, "usage": text, "power": {"socket_power": text}}])), {}, {}, {}),
        lambda: parse_rocm('{"card0": {"GPU use (%)": ' + json.dumps(text) + "}}"),
    ):
        try:
            broken()
        except (BadDocument, BadAnswer, NoAmdAnswer):
            continue


@asynccontextmanager
async def following(pool: SshPool, host: SshHost, **more: object) -> AsyncIterator[GpuFleet]:
    fleet = GpuFleet(pool, [("legacy", host)], period=0.2, **more)  # type: ignore[arg-type]
    task = asyncio.create_task(fleet.run())
    try:
        yield fleet
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_nvidia_smi_that_knows_no_query_is_read_by_documents(pool: SshPool, sshd: OpenSsh, smi: FakeSmi) -> None:
    (smi.folder / "document").write_text(DOCUMENT)
    (smi.folder / "nvidia-smi").write_text(
        '#!/bin/sh\ncd "$(dirname "$0")" || exit 1\ncase "$*" in\n'
        '*--query-gpu=*) echo "Invalid combination of input arguments: --query-gpu is not recognized"; exit 6 ;;\n'
        "*-q*-x*) while :; do cat document || exit; sleep 0.2; done ;;\nesac\n"
    )
    async with following(pool, sshd.host()) as fleet:
        view = await until(fleet, lambda v: v.source == "nvidia-smi -q -x" and len(v.gpus) == 2)
    assert (view.driver, view.cuda, view.error) == ("535.54.03", "12.2", None)
    assert view.gpus[0].detail is not None
    assert view.gpus[0].detail.ecc_corrected == 4


async def test_an_amd_host_shows_the_same_panel(
    pool: SshPool, sshd: OpenSsh, smi: FakeSmi, monkeypatch: pytest.MonkeyPatch
) -> None:
    (smi.folder / "nvidia-smi").unlink()
    (smi.folder / "answer").write_text(json.dumps(ROCM))
    (smi.folder / "rocm-smi").write_text('#!/bin/sh\ncat "$(dirname "$0")/answer"\n')
    (smi.folder / "rocm-smi").chmod(0o755)
    # The module that says "AMD's driver is loaded" is not to be had here: only that look is set.
    monkeypatch.setattr("backends.probes.watch.HostWatch.has_amd", property(lambda self: True))
    async with following(pool, sshd.host()) as fleet:
        view = await until(fleet, lambda v: v.source == "rocm-smi")
    assert (view.gpus[0].name, view.gpus[0].utilization, view.period) == ("Instinct MI100", 0.37, SLOW_PERIOD)


async def test_an_amd_host_is_read_by_amd_smi_where_there_is_one(
    pool: SshPool, sshd: OpenSsh, smi: FakeSmi, monkeypatch: pytest.MonkeyPatch
) -> None:
    (smi.folder / "nvidia-smi").unlink()
    for what, answer in (("metric", AMD_METRIC), ("static", AMD_STATIC), ("list", AMD_LIST), ("process", AMD_PROCESS)):
        (smi.folder / f"{what}.json").write_text(json.dumps(answer))
    (smi.folder / "amd-smi").write_text('#!/bin/sh\necho "WARNING: no permission for one file" \ncat "$(dirname "$0")/$1.json"\n')
    (smi.folder / "amd-smi").chmod(0o755)
    monkeypatch.setattr("backends.probes.watch.HostWatch.has_amd", property(lambda self: True))
    async with following(pool, sshd.host()) as fleet:
        view = await until(fleet, lambda v: v.source == "amd-smi" and len(v.gpus) == 2)
    assert (view.driver, view.error, view.period) == ("6.12.12", None, SLOW_PERIOD)
    assert (view.gpus[0].uuid, view.gpus[0].utilization, view.gpus[1].utilization) == (
        "e8ff74a1-0000-1000-8000-a1b2c3d4e5f6",
        0.94,
        None,
    )
    assert view.gpus[1].alarm == "2 uncorrected ECC errors since the driver was loaded: results may be wrong; drain and reset it"


async def test_an_amd_smi_that_fails_is_told_where_there_is_no_rocm_smi(
    pool: SshPool, sshd: OpenSsh, smi: FakeSmi, monkeypatch: pytest.MonkeyPatch
) -> None:
    (smi.folder / "nvidia-smi").unlink()
    (smi.folder / "amd-smi").write_text("#!/bin/sh\necho 'AMD-SMI failed to initialise: is amdgpu loaded?' >&2\nexit 255\n")
    (smi.folder / "amd-smi").chmod(0o755)
    monkeypatch.setattr("backends.probes.watch.HostWatch.has_amd", property(lambda self: True))
    async with following(pool, sshd.host()) as fleet:
        view = await until(fleet, lambda v: bool(v.error) and "amd-smi" in str(v.error))
    assert view.error == "amd-smi ended with 255: AMD-SMI failed to initialise: is amdgpu loaded?"
    assert view.gpus == ()


async def test_a_host_without_ssh_still_tells_by_dcgm(tmp_path: Path) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text=DCGM)

    app = web.Application()
    app.router.add_get("/metrics", page)
    runner = web.AppRunner(app)
    await runner.setup()
    port, nowhere = free_ports(2)
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        host = SshHost("box", "127.0.0.1", None, nowhere)
        (tmp_path / "config").write_text("")
        pool = SshPool(SshSettings(tmp_path / "config", tmp_path / "known"), [host])
        async with pool, following(pool, host, dcgm={"box": f"http://127.0.0.1:{port}/metrics"}) as fleet:
            view = await until(fleet, lambda v: v.source == "dcgm-exporter")
        assert view.gpus[0].utilization == 0.87
    finally:
        await runner.cleanup()


async def test_this_machine_is_read_by_pynvml(tmp_path: Path) -> None:
    nvml = fake_nvml(tmp_path / "nvml")
    nvml.set(g1_lost=1, g0_compute=f"1:{GIB - 1}", g0_graphics=f"{os.getpid()}:{GIB}", g0_xid=63, g0_pages0=2, g0_pages1=1)
    nvml.set(g0_mig=1, g0_maxmig=7, g100_uuid="MIG-1", g100_name="H100 MIG 1g.10gb", g100_total=10 * GIB, g100_used=GIB)
    program = [sys.executable, "-c", "from console.main import main; main()", "probe", "local", "--json"]
    env = {**os.environ, **nvml.env, "LD_LIBRARY_PATH": str(nvml.library.parent)}
    process = await asyncio.create_subprocess_exec(*program, env=env, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    [host] = json.loads(out)["hosts"]
    assert process.returncode == 1, "a GPU is lost"
    assert (host["source"], host["driver"], host["cuda"], host["health"]) == ("nvml", "570.124.06", "12.8", "live")
    gpu = host["gpus"][0]
    assert (gpu["utilization"], gpu["memory_used"], gpu["power_w"], gpu["throttled"]) == (0.55, 40 * GIB, 412.345, ["power cap"])
    assert [(p["pid"], p["memory"]) for p in gpu["processes"]] == [(os.getpid(), GIB), (1, GIB - 1)]
    assert (gpu["memory_temperature_c"], gpu["retired_pages"], gpu["remapped_rows"], gpu["xid"]) == (72, 3, 1, 63)
    assert gpu["mig"] == [{"uuid": "MIG-1", "name": "H100 MIG 1g.10gb", "memory_used": GIB, "memory_total": 10 * GIB}]
    assert gpu["alarm"].startswith("Xid 63")
    assert host["machine"]["clock_offset"] == 0
    assert "lost" in host["gpus"][1]["alarm"]
    assert abs(time.time() - host["machine"]["boot_at"]) > 0


async def test_this_machines_links_are_told_by_their_rate_and_a_lost_gpu_comes_back(tmp_path: Path) -> None:
    nvml = fake_nvml(tmp_path / "nvml", gpus=1)
    nvml.set(g0_lost=1)
    program = [sys.executable, "-c", "from console.main import main; main()", "probe", "local", "--watch", "--json"]
    env = {**os.environ, **nvml.env, "LD_LIBRARY_PATH": str(nvml.library.parent)}
    process = await asyncio.create_subprocess_exec(*program, env=env, stdout=asyncio.subprocess.PIPE, limit=1 << 20)
    assert process.stdout is not None

    async def seen(wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        assert process.stdout is not None
        async with asyncio.timeout(40):
            while True:
                gpus = json.loads(await process.stdout.readline())["hosts"][0]["gpus"]
                if gpus and wanted(gpus[0]):
                    return dict(gpus[0])

    try:
        gone = await seen(lambda gpu: gpu["alarm"])
        assert (gone["utilization"], "lost" in gone["alarm"]) == (None, True)
        nvml.set(g0_lost=None)
        back = await seen(lambda gpu: gpu["utilization"] == 0.55)
        assert (back["alarm"], back["nvlink_sent"]) == (None, None), "a rate needs two readings"
        nvml.set(g0_field138=(1 << 20) + 4096)
        linked = await seen(lambda gpu: gpu["nvlink_sent"])
        assert 0 < linked["nvlink_sent"] <= 4096 * 1024 * 2
        assert linked["nvlink_received"] == 0
    finally:
        process.terminate()
        await process.communicate()


async def test_a_host_that_fails_is_tried_ever_less_often_and_not_with_the_others_at_one_instant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("backends.probes.other_sources.asyncio.sleep", sleep)
    waits = [wait := other_sources.RETRY_FIRST]
    for _ in range(8):
        waits.append(wait := await other_sources.pause(wait, held=0.0))
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert waits[-1] == other_sources.RETRY_MOST
    assert all(wait / 2 <= slept_for <= wait for wait, slept_for in zip(waits[1:], slept, strict=True))
    assert await other_sources.pause(waits[-1], held=60.0) == other_sources.RETRY_FIRST, "what held is tried again at once"
    await asyncio.gather(*(other_sources.pause(7.5, held=0.0) for _ in range(50)))
    assert len(set(slept[-50:])) > 40
