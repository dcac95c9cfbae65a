"""The list of `cutover checkpoints` as SVG: a bar a tensor, the largest difference first. Readable in light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from backends.checkpoint_view import share_of
from backends.escape import plain

if TYPE_CHECKING:
    from backends.validation.checkpoint.compare import Report, TensorResult

_ROWS = 200
_ROW, _TOP, _NAME, _BAR, _WIDTH = 20, 64, 420, 300, 1000


def draw(report: Report) -> str:
    """A whole SVG document. Names come from outside and are escaped."""
    shown = report.tensors[:_ROWS]
    height = _TOP + _ROW * (len(shown) + 2)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        ' font-family="ui-monospace, monospace" font-size="12" fill="#777">',
        f'<text x="16" y="24" font-size="15">{_text(f"{report.verdict.value}: {report.reason}", 130)}</text>',
        f'<text x="16" y="46">{len(report.tensors):,} tensors by relative difference, 1e-8 to 1 (logarithmic)</text>',
    ]
    for at, result in enumerate(shown):
        lines += _row(result, _TOP + _ROW * at)
    if len(report.tensors) > _ROWS:
        lines.append(f'<text x="16" y="{height - 12}">{len(report.tensors) - _ROWS:,} more</text>')
    return "\n".join([*lines, "</svg>", ""])


def _row(result: TensorResult, y: int) -> list[str]:
    found = result.found
    words = f"missing on {result.missing}" if result.missing else f"another {result.unlike}" if found is None else ""
    share = 1.0 if found is None else share_of(found.relative, found.odd > 0)
    if found is not None:
        words = "equal" if not found.differing and not found.odd else f"max abs {found.max_abs:.3g}"
        words += f", NaN or infinite in {found.odd:,}" if found.odd else ""
    colour = "#2f9e6b" if result.equal else "#d9534f"
    return [
        f'<text x="16" y="{y + 14}">{_text(result.name, 56)}</text>',
        f'<rect x="{_NAME}" y="{y + 4}" width="{share * _BAR:.1f}" height="12" fill="{colour}"/>',
        f'<text x="{_NAME + _BAR + 12}" y="{y + 14}">{_text(words, 40)}</text>',
    ]


def _text(text: str, limit: int) -> str:
    return escape(plain(text, limit))
