"""What our agent says of this machine's GPUs beside what `nvidia-smi` says of them at the same time."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from backends.probes.agent_link import agent_argv, program
from backends.probes.gpus import GpuSample
from backends.probes.reading import AgentReading
from backends.snapshot import GpuDetail

MIB = 1 << 20
Seen = list[tuple[GpuSample, GpuDetail]]
Value = float | str | None

# Each field of --query-gpu: how far it may move between two looks, absolute; None: not at all.
FIELDS: dict[str, float | None] = {
    "uuid": None,
    "name": None,
    "driver_version": None,
    "memory.total": None,
    "memory.used": 1024.0,
    "utilization.gpu": 40.0,
    "utilization.memory": 40.0,
    "power.draw": 150.0,
    "enforced.power.limit": 1.0,
    "temperature.gpu": 6.0,
    "temperature.memory": 6.0,
    "clocks.sm": 1200.0,
    "clocks.mem": 1500.0,
    "clocks.max.sm": None,
    "pcie.link.gen.gpucurrent": 4.0,
    "pcie.link.width.current": None,
    "fan.speed": 20.0,
    "persistence_mode": None,
    "compute_mode": None,
    "mig.mode.current": None,
    "ecc.mode.current": None,
    "ecc.errors.corrected.volatile.total": None,
    "ecc.errors.uncorrected.volatile.total": None,
}


def ours(sample: GpuSample, detail: GpuDetail) -> dict[str, Value]:
    """Our values in the units and words of nvidia-smi."""
    return {
        "uuid": sample.uuid,
        "name": sample.name,
        "driver_version": sample.driver,
        "memory.total": _over(sample.memory_total, MIB),
        "memory.used": _over(sample.memory_used, MIB),
        "utilization.gpu": _over(sample.utilization, 0.01),
        "utilization.memory": _over(detail.memory_utilization, 0.01),
        "power.draw": sample.power_w,
        "enforced.power.limit": sample.power_limit_w,
        "temperature.gpu": sample.temperature_c,
        "temperature.memory": detail.memory_temperature_c,
        "clocks.sm": detail.clock_mhz,
        "clocks.mem": detail.memory_clock_mhz,
        "clocks.max.sm": detail.clock_max_mhz,
        "pcie.link.gen.gpucurrent": detail.pcie_generation,
        "pcie.link.width.current": detail.pcie_width,
        "fan.speed": _over(detail.fan, 0.01),
        "persistence_mode": _switch(detail.persistence),
        "compute_mode": _mode(detail.compute_mode),
        "mig.mode.current": _switch(detail.mig_mode),
        "ecc.mode.current": _switch(detail.ecc),
        "ecc.errors.corrected.volatile.total": detail.ecc_corrected,
        "ecc.errors.uncorrected.volatile.total": detail.ecc_uncorrected,
    }


def differences(seen: Seen, rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Every value that nvidia-smi gives otherwise, or that one of the two does not give."""
    out = [] if len(seen) == len(rows) else [f"{len(seen)} GPUs, nvidia-smi says {len(rows)}"]
    by_uuid = {row["uuid"]: row for row in rows}
    for sample, detail in seen:
        row = by_uuid.get(sample.uuid)
        if row is None:
            out.append(f"uuid: {sample.uuid} is none of nvidia-smi's")
            continue
        for field, value in ours(sample, detail).items():
            said, moves = _value(row[field]), FIELDS[field]
            if not _agree(value, said, moves):
                out.append(f"{field}: {value}, nvidia-smi says {row[field]}")
    return out


def _agree(value: Value, said: Value, moves: float | None) -> bool:
    if value is None or said is None or isinstance(value, str) or isinstance(said, str):
        return value == said
    return abs(value - said) <= (moves if moves is not None else 0.5)


def _value(cell: str) -> Value:
    if cell.startswith("[") or cell in ("N/A", ""):
        return None
    try:
        return float(cell)
    except ValueError:
        return cell


def _over(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _switch(value: bool | None) -> str | None:
    return None if value is None else "Enabled" if value else "Disabled"


def _mode(value: str | None) -> str | None:
    return None if value is None else "_".join(word.capitalize() for word in value.split())


async def ask_agent(env: Mapping[str, str]) -> Seen:
    """The agent itself, run here as it runs on a host."""
    child = await asyncio.create_subprocess_exec(
        *agent_argv(0.3, ["/"]), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=dict(env), limit=1 << 20
    )
    assert child.stdin is not None
    assert child.stdout is not None
    reading = AgentReading()
    try:
        async with asyncio.timeout(60):
            child.stdin.write(program())
            while reading.take((await child.stdout.readline()).decode(), 0.0) != "sample":
                assert reading.hello is None or reading.hello.error is None, reading.hello.error
        return reading.samples()
    finally:
        child.stdin.close()
        await child.wait()


async def ask_smi(smi: Path | str, env: Mapping[str, str]) -> list[dict[str, str]]:
    """nvidia-smi's own words, a row a GPU. A field that this one does not know is an error."""
    argv = [str(smi), f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
    child = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, env=dict(env))
    async with asyncio.timeout(60):
        out, _ = await child.communicate()
    assert child.returncode == 0, out.decode()
    return [dict(zip(FIELDS, row, strict=True)) for row in csv.reader(out.decode().splitlines(), skipinitialspace=True)]
