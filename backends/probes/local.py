"""The engine's own machine: its GPUs by pynvml (nvidia-ml-py 13), the machine itself as the agent would see it, without SSH.

Every call may wait for the driver: all of it runs in a thread.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pynvml

from backends.escape import plain
from backends.probes.agent.host import Host, process
from backends.probes.agent.nvml import SLOW_EVERY
from backends.probes.gpus import Trouble
from backends.probes.reading import AgentReading
from backends.probes.watch import HostWatch

AGAIN = 30.0
_GONE = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)


class LocalSource:
    """Reads this machine; what it reads has the agent's form."""

    def __init__(self, watch: HostWatch, period: float, *, paths: Sequence[str], clock: Callable[[], float] = time.time) -> None:
        self._watch = watch
        self._period = period
        self._clock = clock
        self._host = Host(list(paths))
        self._slow: dict[int, dict[str, Any]] = {}
        self._tick = 0

    async def run(self) -> None:
        """Until cancelled; a driver that is not there is looked for again."""
        while True:
            try:
                await asyncio.to_thread(pynvml.nvmlInit)
            except pynvml.NVMLError as error:
                code = getattr(error, "value", None)
                cure = "install or load the NVIDIA driver: modprobe nvidia; dmesg tells why it fails"
                reading = await asyncio.to_thread(self.read, [code, str(error)])
                self._watch.saw_reading(reading)
                self._watch.saw_trouble(Trouble("no_driver", f"NVML: {plain(str(error), 120)} ({cure})"), self._clock())
                await asyncio.sleep(AGAIN)
                continue
            try:
                while True:
                    self._watch.saw_agent(await asyncio.to_thread(self.read, None), self._clock(), source="nvml")
                    await asyncio.sleep(self._period)
            finally:
                await asyncio.to_thread(pynvml.nvmlShutdown)

    def read(self, error: list[Any] | None) -> AgentReading:
        """One look at everything. Blocking."""
        reading = AgentReading()
        now = self._clock()
        hello: dict[str, Any] = {"cutover": 1, "facts": self._host.facts(), "error": error}
        parts: dict[str, Any] = {"h": self._host.fast() | self._host.slow()}
        if error is None:
            hello["driver"] = _ask(pynvml.nvmlSystemGetDriverVersion)
            version = _ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)
            hello["cuda"] = f"{version // 1000}.{version % 1000 // 10}" if version is not None else None
            for index in range(pynvml.nvmlDeviceGetCount()):
                parts[f"g{index}"] = self._gpu(index)
        self._tick += 1
        reading.take(json.dumps(hello), now)
        reading.take(json.dumps({"t": now, "n": self._tick, "p": parts, "whole": 1}), now)
        reading.take(json.dumps({"ping": str(now), "t": now}), now)  # our own clock
        return reading

    def _gpu(self, index: int) -> dict[str, Any]:
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            if self._tick % SLOW_EVERY == 0 or index not in self._slow:
                self._slow[index] = _slow(handle)
            return self._slow[index] | _fast(handle)
        except pynvml.NVMLError as error:
            return {"lost": getattr(error, "value", pynvml.NVML_ERROR_GPU_IS_LOST)}


def _ask(function: Callable[..., Any], *args: Any) -> Any:
    """A value; None where the device does not give it. Raises where the GPU is gone."""
    try:
        value = function(*args)
    except pynvml.NVMLError as error:
        if getattr(error, "value", None) in _GONE:
            raise
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _fast(handle: Any) -> dict[str, Any]:
    use = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2) or _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    encoder = _ask(pynvml.nvmlDeviceGetEncoderUtilization, handle)
    return {
        "util": use.gpu if use is not None else None,
        "mutil": use.memory if use is not None else None,
        "used": memory.used if memory is not None else None,
        "total": memory.total if memory is not None else None,
        "mw": _ask(pynvml.nvmlDeviceGetPowerUsage, handle),
        "temp": _ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        "sm": _ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        "mem": _ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM),
        "why": _ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle),
        "enc": encoder[0] if encoder is not None else None,
    }


def _slow(handle: Any) -> dict[str, Any]:
    ecc, mig = _ask(pynvml.nvmlDeviceGetEccMode, handle), _ask(pynvml.nvmlDeviceGetMigMode, handle)
    rows = _ask(pynvml.nvmlDeviceGetRemappedRows, handle)
    computing = _ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
    return {
        "uuid": _ask(pynvml.nvmlDeviceGetUUID, handle),
        "name": _ask(pynvml.nvmlDeviceGetName, handle),
        "cap": _ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle),
        "smmax": _ask(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_SM),
        "pstate": _ask(pynvml.nvmlDeviceGetPerformanceState, handle),
        "fan": _ask(pynvml.nvmlDeviceGetFanSpeed, handle),
        "persist": _ask(pynvml.nvmlDeviceGetPersistenceMode, handle),
        "mode": _ask(pynvml.nvmlDeviceGetComputeMode, handle),
        "ecc": ecc[0] if ecc is not None else None,
        "ecc1": _ask(pynvml.nvmlDeviceGetTotalEccErrors, handle, 0, 0),
        "ecc2": _ask(pynvml.nvmlDeviceGetTotalEccErrors, handle, 1, 0),
        "rows": list(rows) if rows is not None else None,
        "pcitx": _ask(pynvml.nvmlDeviceGetPcieThroughput, handle, 0),
        "pcirx": _ask(pynvml.nvmlDeviceGetPcieThroughput, handle, 1),
        "gen": _ask(pynvml.nvmlDeviceGetCurrPcieLinkGeneration, handle),
        "width": _ask(pynvml.nvmlDeviceGetCurrPcieLinkWidth, handle),
        "mig": mig[0] if mig is not None else None,
        "procs": [process(p.pid, p.usedGpuMemory) for p in computing] if computing is not None else None,
    }
