"""Figures as people read them: no more digits than the eye can use, `-` where nothing is known, never more than the whole."""

from __future__ import annotations

import math
from datetime import datetime

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_RATES = ("bps", "kbps", "Mbps", "Gbps", "Tbps")
NOTHING = "-"
LATE_PERIODS = 2  # a figure shows its age once it is older than this many periods


def known(value: float | None) -> bool:
    """Whether there is a finite figure at all."""
    return value is not None and math.isfinite(value)


def number(value: float | None, digits: int = 3) -> str:
    """Some significant digits, at most one more than the whole part needs: `1.23`, `12.3`, `123`, `1,234`."""
    if value is None:
        return NOTHING
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    size = abs(value)
    if size >= 1e15 or 0 < size < 10**-digits:
        return f"{value:.{max(0, digits - 1)}e}"
    whole = len(str(int(size)))
    places = max(0, digits - whole) if size >= 1 else digits
    return f"{value:,.{places}f}"


def place(value: float | None) -> str:
    """A place on an axis: epochs and steps are whole."""
    if value is not None and math.isfinite(value) and value == int(value):
        return f"{int(value):,}"
    return number(value)


def count(value: int | None) -> str:
    """`4,112`."""
    return NOTHING if value is None else f"{value:,}"


def counted(number: int, thing: str) -> str:
    """`1 alarm`, `2 alarms`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _unit_of(value: float, units: tuple[str, ...], base: float) -> tuple[float, str]:
    for unit in units[:-1]:
        if abs(value) < base * 0.9995:
            return value, unit
        value /= base
    return value, units[-1]


def _three(value: float) -> str:
    size = abs(value)
    places = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{value:.{places}f}"


def size(value: float | None) -> str:
    """`512 B`, `1.23 GiB`, `93.1 GiB`: 8 cells at most up to EiB."""
    if value is None or not math.isfinite(value):
        return NOTHING
    amount, unit = _unit_of(float(value), _BINARY, 1024)
    return f"{int(amount)} B" if unit == "B" else f"{_three(amount)} {unit}"


def size_of(done: float | None, total: float | None) -> str:
    """`11.2 of 12.0 TiB`, both in the unit of the whole; `11.2 TiB` where the whole is not known."""
    if total is None or done is None or total <= 0:
        return size(done)
    amount, unit = _unit_of(float(total), _BINARY, 1024)
    scale = total / amount if amount else 1
    part = min(float(done), float(total)) / scale
    if unit == "B":
        return f"{int(part)} of {int(amount)} B"
    return f"{_three(part)} of {_three(amount)} {unit}"


def rate(bytes_per_second: float | None) -> str:
    """Bits a second, as lines are sold: `1.84 Gbps`."""
    if bytes_per_second is None or not math.isfinite(bytes_per_second):
        return NOTHING
    amount, unit = _unit_of(max(0.0, bytes_per_second) * 8, _RATES, 1000)
    return f"{int(amount)} bps" if unit == "bps" else f"{_three(amount)} {unit}"


def progress(done: float | None, total: float | None) -> float | None:
    """A fraction 0..1, never more; None where the whole is not known."""
    if done is None or total is None:
        return None
    if total <= 0:
        return 1.0
    return min(1.0, max(0.0, done / total))


def share(fraction: float | None, places: int = 1) -> str:
    """`93.1 %`. Short of the whole it never says 100."""
    if fraction is None or not math.isfinite(fraction):
        return NOTHING
    shown = fraction * 100
    if fraction < 1:
        shown = min(shown, 100 - 10**-places)
    return f"{shown:.{places}f} %"


def weight(percent: int | None) -> str:
    """A weight 0..100: `25 %`."""
    return NOTHING if percent is None else f"{percent} %"


def change(fraction: float | None) -> str:
    """A relative change with its sign: `+3.1 %`, `-0.05 %`, `0.00 %`."""
    if fraction is None:
        return NOTHING
    if not math.isfinite(fraction):
        return number(fraction)
    shown = fraction * 100
    if shown == 0:
        return "0 %"
    places = 2 if abs(shown) < 0.995 else 1 if abs(shown) < 99.95 else 0
    sign = "+" if abs(shown) >= 0.005 else ""  # what is rounded to nothing went neither way
    return f"{shown if sign else 0.0:{sign}.{places}f} %"


def percent(fraction: float | None) -> str:
    """A rate of something as percent with the digits that it needs: `0.02 %`, `12 %`."""
    if fraction is None:
        return NOTHING
    if not math.isfinite(fraction):
        return number(fraction)
    shown = fraction * 100
    if shown == 0:
        return "0 %"
    places = 3 if abs(shown) < 0.01 else 2 if abs(shown) < 0.995 else 1 if abs(shown) < 9.95 else 0
    return f"{shown:.{places}f}".rstrip("0").rstrip(".") + " %" if places else f"{shown:.0f} %"


def seconds(value: float | None) -> str:
    """A measured time: `87 ms`, `1.24 s`, `3 min`."""
    if value is None or not math.isfinite(value):
        return NOTHING if value is None else number(value)
    if abs(value) < 0.9995:
        amount = value * 1000
        return f"{amount:.0f} ms" if abs(amount) >= 9.95 else f"{amount:.1f} ms"
    return f"{value:.2f} s" if abs(value) < 9.995 else duration(value)


def duration(value: float | None) -> str:
    """`42 s`, `58 min`, `4 h 26 min`, `3 d 4 h`."""
    if value is None or not math.isfinite(value):
        return NOTHING
    whole = max(0, round(value))
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(round(whole / 3600), 24)
    return f"{days} d {hours} h"


def brief(value: float | None) -> str:
    """The same in few cells: `42s`, `41m`, `4h26`, `3d4h`."""
    if value is None or not math.isfinite(value):
        return NOTHING
    whole = max(0, round(value))
    if whole < 100:
        return f"{whole}s"
    minutes = round(whole / 60)
    if minutes < 100:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02d}"
    days, hours = divmod(round(whole / 3600), 24)
    return f"{days}d{hours}h"


def watch(elapsed: float | None, total: float | None) -> str:
    """How far a soak or window has come, never past its end: `6:10/15m`, `3s/6s`, `2d4h/7d0h`."""
    if elapsed is None or total is None:
        return NOTHING
    elapsed = min(max(0.0, elapsed), max(0.0, total))
    if total < 100:
        return f"{int(elapsed)}s/{brief(total)}"
    if total <= 6000:
        return f"{int(elapsed) // 60}:{int(elapsed) % 60:02d}/{brief(total)}"
    return f"{brief(elapsed)}/{brief(total)}"


def age(value: float | None) -> str:
    """`4 s ago`; `-` where it is not known."""
    return NOTHING if value is None else f"{duration(value)} ago"


def is_late(value: float | None, period: float | None) -> bool:
    """Whether a figure of this age has to show it."""
    return value is not None and value > LATE_PERIODS * (period or 1.0)


def eta(low: float | None, high: float | None, never: bool = False) -> str:
    """When it will be done, as a range: `ETA 58 min ±6`, `ETA 2 to 9 h`, `ETA never at this rate`, `ETA -`."""
    if never:
        return "ETA never at this rate"
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)) or high < 0:
        return "ETA -"
    low, high = max(0.0, min(low, high)), max(low, high)
    if high < 1:
        return "ETA now"
    middle, spread = (low + high) / 2, (high - low) / 2
    if spread <= middle * 0.25:
        unit = 1 if middle < 99.5 else 60
        around = round(spread / unit)
        return f"ETA {duration(middle)}" + (f" ±{around}" if around and middle < 6000 else "")
    first, last = duration(low), duration(high)
    return f"ETA {first}" if first == last else f"ETA {first} to {last}"


def clock(at: datetime) -> str:
    """`03:12:44`."""
    return at.strftime("%H:%M:%S")


def stamp(at: datetime, now: datetime) -> str:
    """The time of an event in 8 cells; of another day its date and minute."""
    return clock(at) if at.date() == now.date() else at.strftime("%d%b %H").replace("  ", " ").rjust(8)


def power(watts: float | None, limit: float | None) -> str:
    """`2.9 of 3.2 kW`; a single GPU in W."""
    if watts is None:
        return NOTHING
    top = limit if limit else watts
    scale, unit = (1000, "kW") if top >= 1000 else (1, "W")
    shown = f"{watts / scale:.1f}" if scale == 1000 else f"{watts:.0f}"
    if not limit:
        return f"{shown} {unit}"
    return f"{shown} of " + (f"{limit / scale:.1f}" if scale == 1000 else f"{limit:.0f}") + f" {unit}"


def decimal_size(value: float | None) -> str:
    """`12 TB`: lines and prices are in decimal units."""
    if value is None:
        return NOTHING
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} PB" if amount < 1000 else f"{amount:,.0f} PB"


def span_of_time(value: float | None) -> str:
    """`4.44 h`, `18.5 d`: three digits of one unit, as plans have them. `<0.1 s` is as near as any plan comes to nothing."""
    if value is None:
        return NOTHING
    if 0 < value < 0.1:
        return "<0.1 s"
    for limit, size, unit in ((2 * 86400.0, 86400.0, "d"), (3600.0, 3600.0, "h"), (60.0, 60.0, "min")):
        if value >= limit:
            return f"{value / size:.3g} {unit}" if value / size < 1000 else f"{value / size:,.0f} {unit}"
    return f"{value:.3g} s"
