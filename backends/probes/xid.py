"""What NVIDIA's Xid errors mean and what cures them (NVIDIA's "XID Errors" deployment guide, r560).

Some are the application's own fault and say nothing of the GPU.
"""

from __future__ import annotations

_RESET = "drain it and reset the GPU"
_REBOOT = "drain the host and reboot it; if it comes back, the GPU is broken"
_APPLICATION = "most often the program's own fault"

# number: (meaning, cure, does it say that the GPU is unwell)
XIDS: dict[int, tuple[str, str, bool]] = {
    13: ("graphics engine exception", _APPLICATION, False),
    31: ("memory page fault", _APPLICATION, False),
    43: ("the GPU stopped processing for a program", _APPLICATION, False),
    45: ("preemptive cleanup after other errors", "look for the Xid before it", False),
    48: ("double bit ECC error", _RESET, True),
    61: ("internal micro-controller breakpoint", _REBOOT, True),
    62: ("internal micro-controller halt", _REBOOT, True),
    63: ("row remapping or page retirement recorded", "reset the GPU when it is idle", True),
    64: ("row remapping or page retirement failed", "replace the GPU", True),
    68: ("video processor exception", _APPLICATION, False),
    74: ("NVLink error", "check the bridge or baseboard; reset the GPU", True),
    79: ("the GPU has fallen off the bus", _REBOOT, True),
    92: ("high rate of single-bit ECC errors", "run the field diagnostics", True),
    94: ("contained ECC error", "restart the program; reset the GPU when it is idle", True),
    95: ("uncontained ECC error", _RESET, True),
    109: ("context switch timeout", _RESET, True),
    119: ("GSP does not answer", _REBOOT, True),
    120: ("GSP error", _REBOOT, True),
    121: ("corrected errors of the C2C link", "reset the GPU when it is idle", True),
    140: ("unrecovered ECC error", _RESET, True),
}


def xid_words(xid: int, *, alarms_only: bool = False) -> str:
    """`Xid 79, the GPU has fallen off the bus: …`; with `alarms_only` empty where it is no sign of an unwell GPU."""
    meaning, cure, unwell = XIDS.get(xid, ("unknown to us", "see NVIDIA's list of Xid errors", True))
    if alarms_only and not unwell:
        return ""
    return f"Xid {xid}, {meaning}: {cure}" if alarms_only else f"Xid {xid}, {meaning}"
