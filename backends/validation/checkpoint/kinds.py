"""Kinds of numbers in checkpoints: how their bits lie, and what they are worth.

Names are those of safetensors. Eight-bit floats as in OCP "8-bit floating point" (E4M3, E5M2), the OCP microscaling formats (E8M0) and
the FNUZ forms (Noune et al. 2022, arXiv 2206.02915). What is narrower than a byte is compared by its bytes only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Form = Literal["float", "int", "opaque"]
Bits = NDArray[Any]
Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Kind:
    """`stored` is numpy's type of the bits as they lie, little-endian; `numbers` how many of those make an element."""

    name: str
    bits: int
    form: Form
    stored: str
    numbers: int = 1
    exponent: int = 0  # bits of a float of eight bits
    bias: int = 0

    @property
    def width(self) -> int:
        """Bytes of one number."""
        return np.dtype(self.stored).itemsize


def _kinds() -> dict[str, Kind]:
    made = [Kind("BOOL", 8, "int", "u1"), Kind("C64", 64, "float", "<u4", numbers=2)]
    made += [Kind(f"U{n}", n, "int", f"<u{n // 8}") for n in (8, 16, 32, 64)]
    made += [Kind(f"I{n}", n, "int", f"<i{n // 8}") for n in (8, 16, 32, 64)]
    made += [Kind(f"F{n}", n, "float", f"<u{n // 8}") for n in (16, 32, 64)] + [Kind("BF16", 16, "float", "<u2")]
    made += [Kind("F8_E4M3", 8, "float", "u1", exponent=4, bias=7), Kind("F8_E5M2", 8, "float", "u1", exponent=5, bias=15)]
    made += [
        Kind("F8_E4M3FNUZ", 8, "float", "u1", exponent=4, bias=8),
        Kind("F8_E5M2FNUZ", 8, "float", "u1", exponent=5, bias=16),
    ]
    made += [Kind("F8_E8M0", 8, "float", "u1", exponent=8, bias=127)]
    made += [Kind("F4", 4, "opaque", "u1"), Kind("F6_E2M3", 6, "opaque", "u1"), Kind("F6_E3M2", 6, "opaque", "u1")]
    return {kind.name: kind for kind in made}


KINDS = _kinds()


def bits_of(kind: Kind, data: memoryview | bytes | bytearray) -> Bits:
    """The numbers' bits, without a copy."""
    return np.frombuffer(data, dtype=kind.stored)


def reals(kind: Kind, bits: Bits, out: Reals) -> Reals:
    """What they are worth, exactly but for integers of more than 53 bits: put into `out`."""
    if kind.exponent:
        return np.take(_table(kind), bits, out=out, mode="clip")  # every byte is in the table; "raise" would work in a copy
    if kind.name == "BF16":
        wide = bits.astype(np.uint32)
        wide <<= 16
        out[:] = wide.view(np.float32)
    elif kind.form == "int":
        out[:] = bits
    else:
        out[:] = bits.view(f"<f{kind.width}")
    return out


def sign_of(kind: Kind) -> int:
    """The sign's bit; 0 where there is none."""
    return 0 if kind.name == "F8_E8M0" else 1 << (8 * kind.width - 1)


@lru_cache(maxsize=8)
def _table(kind: Kind) -> Reals:
    return np.array([_eight_bits(kind, bits) for bits in range(256)], dtype=np.float64)


def _eight_bits(kind: Kind, bits: int) -> float:
    if kind.name == "F8_E8M0":
        return math.nan if bits == 255 else math.ldexp(1.0, bits - kind.bias)
    if kind.name.endswith("FNUZ") and bits == 0x80:
        return math.nan
    fraction_bits = 7 - kind.exponent
    sign = -1.0 if bits & 0x80 else 1.0
    exponent, fraction = (bits & 0x7F) >> fraction_bits, bits & ((1 << fraction_bits) - 1)
    if kind.name == "F8_E5M2" and exponent == 31:
        return math.nan if fraction else sign * math.inf
    if kind.name == "F8_E4M3" and bits & 0x7F == 0x7F:
        return math.nan
    if exponent == 0:
        return sign * math.ldexp(fraction, 1 - kind.bias - fraction_bits)
    return sign * math.ldexp((1 << fraction_bits) + fraction, exponent - kind.bias - fraction_bits)
