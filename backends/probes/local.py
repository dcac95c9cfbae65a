"""The engine's own machine: its GPUs by pynvml (nvidia-ml-py 13), the machine itself as the agent would see it, without SSH.

Every call may wait for the driver: all of it runs in a thread, and what it finds is taken in on the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pynvml

from backends.escape import plain
from backends.probes.agent.host import Host, process
from backends.probes.agent.nvml import MAX_PROCESSES, MEMORY_TEMP, NVLINK_RX, NVLINK_TX, SLOW_EVERY, UINT_MAX
from backends.probes.gpus import Trouble
from backends.probes.reading import AgentReading
from backends.probes.watch import HostWatch

AGAIN = 30.0
EVENTS_AT_ONCE = 16
_GONE = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)


class LocalSource:
    """Reads this machine; what it reads has the agent's form."""

    def __init__(self, watch: HostWatch, period: float, *, paths: Sequence[str], clock: Callable[[], float] = time.time) -> None:
        self._watch = watch
        self._period = period
        self._clock = clock
        self._host = Host(list(paths))
        self._reading = AgentReading()
        self._slow: dict[int, dict[str, Any]] = {}
        self._xids: dict[int, int] = {}  # the last of each GPU, since we look
        self._events: Any = None
        self._tick = 0

    async def run(self) -> None:
        """Until cancelled; a driver that is not there is looked for again."""
        while True:
            try:
                await asyncio.to_thread(self._start)
            except pynvml.NVMLError as error:
                code = getattr(error, "value", None)
                cure = "install or load the NVIDIA driver: modprobe nvidia; dmesg tells why it fails"
                self._take(*await asyncio.to_thread(self.look, [code, str(error)]))
                self._watch.saw_reading(self._reading)
                self._watch.saw_trouble(Trouble("no_driver", f"NVML: {plain(str(error), 120)} ({cure})"), self._clock())
                await asyncio.sleep(AGAIN)
                continue
            try:
                while True:
                    self._take(*await asyncio.to_thread(self.look, None))
                    self._watch.saw_agent(self._reading, self._clock(), source="nvml")
                    await asyncio.sleep(self._period)
            finally:
                await asyncio.to_thread(self._end)

    def _take(self, at: float, lines: list[str]) -> None:
        for line in lines:
            self._reading.take(line, at)

    def _start(self) -> None:
        pynvml.nvmlInit()
        with contextlib.suppress(pynvml.NVMLError):  # a virtual GPU, say, tells of no events
            self._events = pynvml.nvmlEventSetCreate()
            for index in range(pynvml.nvmlDeviceGetCount()):
                with contextlib.suppress(pynvml.NVMLError):
                    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                    pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._events)

    def _end(self) -> None:
        self._events = None
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    def look(self, error: list[Any] | None) -> tuple[float, list[str]]:
        """One look at everything, and when, as the agent's lines would tell it. Blocking."""
        hello: dict[str, Any] = {"cutover": 1, "facts": self._host.facts(), "error": error}
        parts: dict[str, Any] = {"h": self._host.fast() | self._host.slow()}
        if error is None:
            hello["driver"] = _ask(pynvml.nvmlSystemGetDriverVersion)
            version = _ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)
            hello["cuda"] = f"{version // 1000}.{version % 1000 // 10}" if version is not None else None
            self._watch_xids()
            for index in range(pynvml.nvmlDeviceGetCount()):
                parts[f"g{index}"] = self._gpu(index) | ({"xid": self._xids[index]} if index in self._xids else {})
        self._tick += 1
        now = self._clock()
        sample = {"t": now, "n": self._tick, "p": parts, "whole": 1}
        return now, [json.dumps(value) for value in (hello, sample, {"ping": str(now), "t": now})]  # our own clock

    def _gpu(self, index: int) -> dict[str, Any]:
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            if self._tick % SLOW_EVERY == 0 or index not in self._slow:
                self._slow[index] = _slow(handle)
            return self._slow[index] | _fast(handle) | {"lost": None}
        except pynvml.NVMLError as error:
            self._slow.pop(index, None)
            return {"lost": getattr(error, "value", pynvml.NVML_ERROR_GPU_IS_LOST)}

    def _watch_xids(self) -> None:
        """Take what events have come; never waits."""
        for _ in range(EVENTS_AT_ONCE):
            if self._events is None:
                return
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
            except pynvml.NVMLError as error:
                if getattr(error, "value", None) != pynvml.NVML_ERROR_TIMEOUT:
                    self._events = None
                return
            for index in range(pynvml.nvmlDeviceGetCount()):
                with contextlib.suppress(pynvml.NVMLError):  # one that is lost has no handle any more
                    if _address(pynvml.nvmlDeviceGetHandleByIndex(index)) == _address(event.device):
                        self._xids[index] = int(event.eventData)


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value


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
    hbm, sent, received = _fields(handle, [(MEMORY_TEMP, 0), (NVLINK_TX, UINT_MAX), (NVLINK_RX, UINT_MAX)])
    return {
        "util": use.gpu if use is not None else None,
        "mutil": use.memory if use is not None else None,
        "used": memory.used if memory is not None else None,
        "total": memory.total if memory is not None else None,
        "mw": _ask(pynvml.nvmlDeviceGetPowerUsage, handle),
        "temp": _ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        "mtemp": hbm if hbm is None or hbm < 200 else None,
        "sm": _ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        "mem": _ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM),
        "why": _ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle),
        "enc": encoder[0] if encoder is not None else None,
        "nvtx": sent,
        "nvrx": received,
    }


def _fields(handle: Any, wanted: list[tuple[int, int]]) -> list[int | None]:
    """Values of field ids, each with its scope."""
    found = _ask(pynvml.nvmlDeviceGetFieldValues, handle, wanted)
    return [None] * len(wanted) if found is None else [_value(slot) for slot in found]


def _value(slot: Any) -> int | None:
    if slot.nvmlReturn:
        return None
    if slot.valueType == pynvml.NVML_VALUE_TYPE_UNSIGNED_INT:
        return int(slot.value.uiVal)
    return None if slot.value.ullVal >= 1 << 62 else int(slot.value.ullVal)  # NVML's blank values lie above


def _slow(handle: Any) -> dict[str, Any]:
    ecc, mig = _ask(pynvml.nvmlDeviceGetEccMode, handle), _ask(pynvml.nvmlDeviceGetMigMode, handle)
    rows = _ask(pynvml.nvmlDeviceGetRemappedRows, handle)
    retired = [_ask(pynvml.nvmlDeviceGetRetiredPages, handle, cause) for cause in (0, 1)]
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
        "pages": None if None in retired else sum(len(pages) for pages in retired),
        "pcitx": _ask(pynvml.nvmlDeviceGetPcieThroughput, handle, 0),
        "pcirx": _ask(pynvml.nvmlDeviceGetPcieThroughput, handle, 1),
        "gen": _ask(pynvml.nvmlDeviceGetCurrPcieLinkGeneration, handle),
        "width": _ask(pynvml.nvmlDeviceGetCurrPcieLinkWidth, handle),
        "mig": mig[0] if mig is not None else None,
        "migs": _migs(handle) if mig is not None and mig[0] else [],
        "procs": _processes(handle),
    }


def _migs(handle: Any) -> list[dict[str, Any]]:
    out = []
    for index in range(_ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        device = _ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
        if device is None:
            continue  # no instance at this place
        memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, device)
        one = {"uuid": _ask(pynvml.nvmlDeviceGetUUID, device), "name": _ask(pynvml.nvmlDeviceGetName, device)}
        out.append(one | {"used": memory.used if memory else None, "total": memory.total if memory else None})
    return out


def _processes(handle: Any) -> list[dict[str, object]] | None:
    """Who computes or draws on it, the largest first; None where the driver does not tell."""
    lists = [_ask(f, handle) for f in (pynvml.nvmlDeviceGetComputeRunningProcesses, pynvml.nvmlDeviceGetGraphicsRunningProcesses)]
    if all(one is None for one in lists):
        return None
    found = {p.pid: p.usedGpuMemory for one in lists for p in one or ()}
    largest = sorted(found.items(), key=lambda one: (-(one[1] or 0), one[0]))[:MAX_PROCESSES]
    return [process(pid, used) for pid, used in largest]
