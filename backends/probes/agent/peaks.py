"""The most GPU memory that processes have held, where the driver keeps accounts (`nvidia-smi -am 1`, off by default). Changes nothing.

nvmlAccountingStats_t: nvml.h of CUDA 12.
"""

import ctypes
import json
import sys

from backends.probes.agent.nvml import LOST, NO_VALUE, RESET_REQUIRED, Failed, Nvml


class Account(ctypes.Structure):
    _fields_ = [
        ("utilization", ctypes.c_uint),
        ("memory_utilization", ctypes.c_uint),
        ("max_memory", ctypes.c_ulonglong),
        ("time", ctypes.c_ulonglong),
        ("start", ctypes.c_ulonglong),
        ("is_running", ctypes.c_uint),
        ("reserved", ctypes.c_uint * 5),
    ]


def look(asked: "dict[str, object]") -> "dict[str, object]":
    """`asked` has `pids`. `kept` says GPU by GPU whether accounts are kept (None: it does not say); `peaks` are [process, GPU, bytes]."""
    pids = asked.get("pids")
    wanted = [pid for pid in pids if isinstance(pid, int) and pid > 0] if isinstance(pids, list) else []
    nvml = Nvml()
    kept = []  # type: list[bool | None]
    peaks = []
    for index, handle in enumerate(nvml.handles):
        mode = None
        try:
            mode = nvml.number("nvmlDeviceGetAccountingMode", handle) if handle.value is not None else None
            for pid in wanted if mode else []:
                peak = peak_of(nvml, handle, pid)
                if peak is not None:
                    peaks.append([pid, index, peak])
        except Failed:  # the GPU is lost
            pass
        kept.append(None if mode is None else bool(mode))
    return {"cutover": "peaks", "kept": kept, "peaks": peaks}


def peak_of(nvml: Nvml, handle: ctypes.c_void_p, pid: int) -> "int | None":
    """None where the device holds no account of this process, or not of its memory."""
    account = Account()
    try:
        nvml.call("nvmlDeviceGetAccountingStats", handle, ctypes.c_uint(pid), ctypes.byref(account))
    except Failed as error:
        if error.code in (LOST, RESET_REQUIRED):
            raise
        return None
    return int(account.max_memory) if account.is_running and account.max_memory != NO_VALUE else None


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(json.loads(sys.argv[1]))) + "\n")
