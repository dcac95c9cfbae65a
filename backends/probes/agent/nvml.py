"""NVML through ctypes: what the driver's library says of each GPU.

Numbers and structures: nvml.h of CUDA 12 (fields, scopes and error codes by their names there). A value that a device does not give
is None, never 0.
"""

import contextlib
import ctypes
import os

from backends.probes.agent.host import process

SLOW_EVERY = 5  # ticks: what costs 20 ms a call (PCIe counters) or hardly changes
MAX_PROCESSES = 64  # that are told of a device
MOST_PROCESSES = 4096
NOT_SUPPORTED, LOST, RESET_REQUIRED, TIMEOUT = 3, 15, 16, 10
INSUFFICIENT_SIZE = 7
UINT_MAX = 0xFFFFFFFF
NO_VALUE = 0xFFFFFFFFFFFFFFFF
PLACES = (
    "libnvidia-ml.so.1",
    "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    "/usr/lib64/libnvidia-ml.so.1",
    "/usr/local/nvidia/lib64/libnvidia-ml.so.1",  # Kubernetes' device plugin
    "/home/kubernetes/bin/nvidia/lib64/libnvidia-ml.so.1",  # GKE on COS
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",  # GPU Operator
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
)


class Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class MemoryV2(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_uint),
        ("total", ctypes.c_ulonglong),
        ("reserved", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    ]


class Process(ctypes.Structure):
    _fields_ = [
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("instance", ctypes.c_uint),
        ("compute", ctypes.c_uint),
    ]


class Field(ctypes.Structure):
    _fields_ = [
        ("id", ctypes.c_uint),
        ("scope", ctypes.c_uint),
        ("timestamp", ctypes.c_longlong),
        ("latency", ctypes.c_longlong),
        ("type", ctypes.c_uint),
        ("result", ctypes.c_int),
        ("value", ctypes.c_ulonglong),  # a union: of unsigned types the low bytes are the value
    ]


class Event(ctypes.Structure):
    _fields_ = [
        ("device", ctypes.c_void_p),
        ("type", ctypes.c_ulonglong),
        ("data", ctypes.c_ulonglong),
        ("instance", ctypes.c_uint),
        ("compute", ctypes.c_uint),
    ]


MEMORY_TEMP, NVLINK_TX, NVLINK_RX = 82, 138, 139
XID = 0x8


class Failed(Exception):
    """An NVML call gave an error."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Nvml:
    """The driver's library, where there is one. `error` says why not, as [NVML code or None, words]."""

    def __init__(self) -> None:
        self.lib = None  # type: ctypes.CDLL | None
        self.error = None  # type: list[object] | None
        self.handles = []  # type: list[ctypes.c_void_p]
        self.events = None  # type: ctypes.c_void_p | None
        self.xids = {}  # type: dict[int, int]
        self.open()

    def again(self) -> None:
        """A driver that has been loaded since, or a GPU that has been reset, is only seen by a new start."""
        if self.lib is not None:
            with contextlib.suppress(Failed):
                self.call("nvmlShutdown")
        self.error, self.handles, self.events = None, [], None
        self.open()

    def open(self) -> None:
        words = "libnvidia-ml.so.1 is not found"
        for place in [os.environ["CUTOVER_NVML"]] if "CUTOVER_NVML" in os.environ else PLACES:
            try:
                self.lib = ctypes.CDLL(place)
                break
            except OSError as error:
                if "cannot open shared object file" not in str(error):
                    words = str(error)
        if self.lib is None:
            self.error = [None, words]
            return
        try:
            self.call("nvmlInit_v2")
            self.find()
        except Failed as error:
            self.error = [error.code, self.words(error.code)]

    def find(self) -> None:
        """Handles of all GPUs; one that is lost has none, and stays None so that the others keep their number."""
        count = ctypes.c_uint()
        self.call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        self.handles = []
        self.events = ctypes.c_void_p()
        try:
            self.call("nvmlEventSetCreate", ctypes.byref(self.events))
        except Failed:
            self.events = None
        for index in range(count.value):
            handle = ctypes.c_void_p()
            try:
                self.call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
                if self.events is not None:
                    self.call("nvmlDeviceRegisterEvents", handle, ctypes.c_ulonglong(XID), self.events)
            except Failed as error:
                if error.code in (LOST, RESET_REQUIRED):
                    handle = ctypes.c_void_p()
            self.handles.append(handle)

    def words(self, code: int) -> str:
        assert self.lib is not None
        try:
            self.lib.nvmlErrorString.restype = ctypes.c_char_p
            said = self.lib.nvmlErrorString(ctypes.c_int(code))
        except AttributeError:
            said = None
        return said.decode("ascii", "replace") if said else "NVML error %d" % code  # noqa: UP031

    def call(self, name: str, *args: object) -> None:
        """Raises `Failed`; a function that this driver lacks counts as not supported."""
        assert self.lib is not None
        try:
            function = getattr(self.lib, name)
        except AttributeError:
            raise Failed(NOT_SUPPORTED) from None
        code = function(*args)
        if code:
            raise Failed(code)

    def number(self, name: str, handle: ctypes.c_void_p, *args: object, kind: type = ctypes.c_uint) -> "int | None":
        """One number of a device; None where it does not give it."""
        value = kind()
        try:
            self.call(name, handle, *args, ctypes.byref(value))
        except Failed as error:
            if error.code in (LOST, RESET_REQUIRED):
                raise
            return None
        got = int(value.value)
        return None if got == (NO_VALUE if kind is ctypes.c_ulonglong else UINT_MAX) and kind is not ctypes.c_int else got

    def text(self, name: str, *args: object) -> "str | None":
        buffer = ctypes.create_string_buffer(96)
        try:
            self.call(name, *args, buffer, ctypes.c_uint(96))
        except Failed as error:
            if error.code in (LOST, RESET_REQUIRED):
                raise
            return None
        return buffer.value.decode("utf-8", "replace")

    def fields(self, handle: ctypes.c_void_p, wanted: "list[tuple[int, int]]") -> "list[int | None]":
        """Values of field ids, each with its scope."""
        values = (Field * len(wanted))()
        for slot, (number, scope) in zip(values, wanted):  # noqa: B905
            slot.id, slot.scope = number, scope
        try:
            self.call("nvmlDeviceGetFieldValues", handle, ctypes.c_int(len(wanted)), values)
        except Failed as error:
            if error.code in (LOST, RESET_REQUIRED):
                raise
            return [None] * len(wanted)
        return [None if slot.result else _unsigned(slot) for slot in values]

    def pair(self, name: str, handle: ctypes.c_void_p, *args: object) -> "tuple[int | None, int | None]":
        """Two numbers at once: present and pending, value and period."""
        one, two = ctypes.c_uint(), ctypes.c_uint()
        try:
            self.call(name, handle, *args, ctypes.byref(one), ctypes.byref(two))
        except Failed as error:
            if error.code in (LOST, RESET_REQUIRED):
                raise
            return None, None
        return int(one.value), int(two.value)

    def watch_xids(self) -> None:
        """Take what events have come; never waits."""
        event = Event()
        for _ in range(16):
            if self.events is None:
                return
            try:
                self.call("nvmlEventSetWait_v2", self.events, ctypes.byref(event), ctypes.c_uint(0))
            except Failed as error:
                if error.code != TIMEOUT:
                    self.events = None
                return
            for index, handle in enumerate(self.handles):
                if handle.value == event.device and event.type & XID:
                    self.xids[index] = int(event.data)


def _unsigned(slot: Field) -> "int | None":
    """Types of nvmlValueType_t: 0 double, 1 unsigned int, 2 unsigned long, 3 unsigned long long, 4 signed long long, 5 signed int."""
    if slot.type == 0:
        value = ctypes.cast(ctypes.byref(slot, Field.value.offset), ctypes.POINTER(ctypes.c_double)).contents.value
        return int(value)
    if slot.type == 1:
        return int(slot.value & UINT_MAX)
    return None if slot.value >= 1 << 62 else int(slot.value)  # DCGM's and NVML's blank values lie above


def gpu_fast(nvml: Nvml, handle: ctypes.c_void_p) -> "dict[str, object]":
    """What moves from second to second."""
    use, memory = Utilization(), MemoryV2()
    memory.version = ctypes.sizeof(MemoryV2) | 2 << 24
    out = {}  # type: dict[str, object]
    try:
        nvml.call("nvmlDeviceGetUtilizationRates", handle, ctypes.byref(use))
        out["util"], out["mutil"] = use.gpu, use.memory
    except Failed as error:
        if error.code in (LOST, RESET_REQUIRED):
            raise
        out["util"] = out["mutil"] = None
    try:
        nvml.call("nvmlDeviceGetMemoryInfo_v2", handle, ctypes.byref(memory))
        out["used"], out["total"] = memory.used, memory.total
    except Failed:
        old = Memory()
        try:
            nvml.call("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(old))
            out["used"], out["total"] = old.used, old.total
        except Failed:
            out["used"] = out["total"] = None
    out["mw"] = nvml.number("nvmlDeviceGetPowerUsage", handle)
    out["temp"] = nvml.number("nvmlDeviceGetTemperature", handle, ctypes.c_int(0))
    out["sm"] = nvml.number("nvmlDeviceGetClockInfo", handle, ctypes.c_int(1))
    out["mem"] = nvml.number("nvmlDeviceGetClockInfo", handle, ctypes.c_int(2))
    out["why"] = nvml.number("nvmlDeviceGetCurrentClocksEventReasons", handle, kind=ctypes.c_ulonglong)
    if out["why"] is None:
        out["why"] = nvml.number("nvmlDeviceGetCurrentClocksThrottleReasons", handle, kind=ctypes.c_ulonglong)
    out["enc"] = nvml.pair("nvmlDeviceGetEncoderUtilization", handle)[0]
    hbm, sent, received = nvml.fields(handle, [(MEMORY_TEMP, 0), (NVLINK_TX, UINT_MAX), (NVLINK_RX, UINT_MAX)])
    out["mtemp"] = hbm if hbm is None or hbm < 200 else None
    out["nvtx"], out["nvrx"] = sent, received
    return out


def gpu_slow(nvml: Nvml, handle: ctypes.c_void_p) -> "dict[str, object]":
    """What is dear to ask or hardly changes."""
    out = {
        "uuid": nvml.text("nvmlDeviceGetUUID", handle),
        "name": nvml.text("nvmlDeviceGetName", handle),
        "cap": nvml.number("nvmlDeviceGetEnforcedPowerLimit", handle),
        "smmax": nvml.number("nvmlDeviceGetMaxClockInfo", handle, ctypes.c_int(1)),
        "pstate": nvml.number("nvmlDeviceGetPerformanceState", handle, kind=ctypes.c_int),
        "fan": nvml.number("nvmlDeviceGetFanSpeed", handle),
        "persist": nvml.number("nvmlDeviceGetPersistenceMode", handle, kind=ctypes.c_int),
        "mode": nvml.number("nvmlDeviceGetComputeMode", handle, kind=ctypes.c_int),
        "ecc": nvml.pair("nvmlDeviceGetEccMode", handle)[0],
        "pcitx": nvml.number("nvmlDeviceGetPcieThroughput", handle, ctypes.c_int(0)),
        "pcirx": nvml.number("nvmlDeviceGetPcieThroughput", handle, ctypes.c_int(1)),
        "gen": nvml.number("nvmlDeviceGetCurrPcieLinkGeneration", handle),
        "width": nvml.number("nvmlDeviceGetCurrPcieLinkWidth", handle),
        "mig": nvml.pair("nvmlDeviceGetMigMode", handle)[0],
    }  # type: dict[str, object]
    for key, kind in (("ecc1", 0), ("ecc2", 1)):
        args = ctypes.c_int(kind), ctypes.c_int(0)
        out[key] = nvml.number("nvmlDeviceGetTotalEccErrors", handle, *args, kind=ctypes.c_ulonglong)
    rows = [ctypes.c_uint() for _ in range(4)]
    try:
        nvml.call("nvmlDeviceGetRemappedRows", handle, *[ctypes.byref(row) for row in rows])
        out["rows"] = [int(row.value) for row in rows]  # correctable, uncorrectable, pending, failed
    except Failed:
        out["rows"] = None
    retired = [_retired(nvml, handle, cause) for cause in (0, 1)]
    out["pages"] = None if None in retired else sum(number for number in retired if number)
    out["migs"] = mig_devices(nvml, handle) if out["mig"] else []
    out["procs"] = processes(nvml, handle)
    return out


def _retired(nvml: Nvml, handle: ctypes.c_void_p, cause: int) -> "int | None":
    count = ctypes.c_uint(0)
    try:
        nvml.call("nvmlDeviceGetRetiredPages", handle, ctypes.c_int(cause), ctypes.byref(count), None)
    except Failed as error:
        return int(count.value) if error.code == INSUFFICIENT_SIZE else None  # the number is what we want
    return int(count.value)


def mig_devices(nvml: Nvml, handle: ctypes.c_void_p) -> "list[dict[str, object]]":
    out = []  # type: list[dict[str, object]]
    for index in range(nvml.number("nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        device, memory = ctypes.c_void_p(), Memory()
        try:
            nvml.call("nvmlDeviceGetMigDeviceHandleByIndex", handle, ctypes.c_uint(index), ctypes.byref(device))
        except Failed:
            continue
        one = {"uuid": nvml.text("nvmlDeviceGetUUID", device), "name": nvml.text("nvmlDeviceGetName", device)}  # type: dict[str, object]
        try:
            nvml.call("nvmlDeviceGetMemoryInfo", device, ctypes.byref(memory))
            one["used"], one["total"] = memory.used, memory.total
        except Failed:
            one["used"] = one["total"] = None
        out.append(one)
    return out


def processes(nvml: Nvml, handle: ctypes.c_void_p) -> "list[dict[str, object]] | None":
    """Who computes on a device, with memory, user, command and job, the largest first; None where the driver does not tell."""
    found = {}  # type: dict[int, int | None]
    asked = False
    for what in ("Compute", "Graphics"):
        for version in ("_v3", "_v2"):
            infos = _running(nvml, handle, "nvmlDeviceGet" + what + "RunningProcesses" + version)
            if infos is not None:
                asked = True
                found.update((info.pid, None if info.used == NO_VALUE else info.used) for info in infos)
                break
    largest = sorted(found.items(), key=lambda one: (-(one[1] or 0), one[0]))[:MAX_PROCESSES]
    return [process(pid, used) for pid, used in largest] if asked else None


def _running(nvml: Nvml, handle: ctypes.c_void_p, name: str) -> "list[Process] | None":
    """Asked again with more room where there are more than fit; None where this driver has no such list."""
    room = MAX_PROCESSES
    for _ in range(3):
        count, infos = ctypes.c_uint(room), (Process * room)()
        try:
            nvml.call(name, handle, ctypes.byref(count), infos)
        except Failed as error:
            if error.code in (LOST, RESET_REQUIRED):
                raise
            if error.code != INSUFFICIENT_SIZE:
                return None
            room = min(count.value + 16, MOST_PROCESSES)
            continue
        return list(infos[: count.value])
    return None
