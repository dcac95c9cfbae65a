"""One JSON document that holds a run: `trainer_state.json` of Hugging Face's Trainer, lists of records, tables by column.

- `{"log_history": [{…}, …]}`: the trainer's state, whatever else it says.
- `[{…}, …]`: records, such as Weights & Biases' history or `DataFrame.to_json(orient="records")`.
- `{"loss": {"0": 1.2, …}, "_step": {…}}` or `{"loss": [1.2, …], "step": […]}`: columns.

It is read when it is whole: while its writer is at work there is nothing yet.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from backends.errors import CutoverError
from backends.validation.errors import SourceUnreadable
from backends.validation.jsonl import JsonLines, load_object
from backends.validation.rows import Row

_SETTINGS = ("train_batch_size", "num_train_epochs", "logging_steps", "eval_steps")  # of the trainer's state
MOST = 64 << 20  # bytes of a document


class Document:
    """Reads one metric of a JSON document; a form as those in `forms`."""

    def __init__(self, metric: str, where: str) -> None:
        self._where = where
        self._records = JsonLines(metric)
        self._parts: list[bytes] = []
        self._size = 0
        self._done = False
        self.first_broken: int | None = None  # a document has no lines
        self.settings: dict[str, str] = {}  # what the document says beside the records

    @property
    def found(self) -> int:
        return self._records.found

    @property
    def broken(self) -> int:
        return self._records.broken

    @property
    def is_ambiguous(self) -> bool:
        return self._records.is_ambiguous

    @property
    def is_waiting(self) -> bool:
        """Is the document not whole yet?"""
        return not self._done

    def take(self, data: bytes) -> list[Row]:
        """Keeps the bytes: there is no row before the document is whole."""
        if self._done:
            if data.strip():
                raise SourceUnreadable("something follows the JSON document", where=self._where, hint="one document a file")
            return []
        self._size += len(data)
        if self._size > MOST:
            hint = "write JSON Lines: one object a line"
            raise SourceUnreadable(f"a JSON document of more than {MOST >> 20} MiB", where=self._where, hint=hint)
        self._parts.append(data)
        return []

    def pause(self) -> list[Row]:
        """Its rows, where it is whole by now."""
        if self._done or not self._parts or self._last_sign() not in b"}]":
            return []
        return self._read(must=False)

    def rest(self) -> list[Row]:
        """Its rows; raises where it is no JSON."""
        return [] if self._done else self._read(must=True)

    def _last_sign(self) -> bytes:
        """The last byte that is no white space."""
        for part in reversed(self._parts):
            text = part.rstrip()
            if text:
                return text[-1:]
        return b" "

    def _read(self, *, must: bool) -> list[Row]:
        value = load_object(b"".join(self._parts).removeprefix(b"\xef\xbb\xbf"))
        if value is None:
            if must:
                raise SourceUnreadable("begins as a JSON document and is none", where=self._where, hint="is it whole?")
            return []
        self._parts.clear()
        self._done = True
        records = records_of(value)
        if isinstance(value, dict):
            self.settings = {k: str(v) for k, v in value.items() if k in _SETTINGS and isinstance(v, int | float)}
        if records is None:
            hint = "known are trainer_state.json, lists of records, and tables by column"
            raise SourceUnreadable("a JSON document without records", where=self._where, hint=hint)
        return self._records.read_objects(records)

    def why_absent(self) -> CutoverError:
        return self._records.why_absent()


def records_of(value: Any) -> list[Any] | None:
    """The records in a document; None where it holds none."""
    if isinstance(value, list):
        return value if any(isinstance(v, dict) for v in value) else None
    if not isinstance(value, dict):
        return None
    history = value.get("log_history")
    if isinstance(history, list):
        return history
    return _from_columns(value)


def is_document(value: dict[str, Any]) -> bool:
    """Is an object that stands on one line a whole document rather than one line of many?"""
    return isinstance(value.get("log_history"), list) or _from_columns(value, 1) is not None


def _from_columns(table: dict[str, Any], most: int | None = None) -> list[dict[str, Any]] | None:
    """Rows of columns that are all lists, or all objects by row number."""
    columns = list(table.items())
    if not columns:
        return None
    if all(isinstance(c, list) for _, c in columns):
        longest = max(len(c) for _, c in columns)
        return [{n: c[i] for n, c in columns if i < len(c)} for i in range(min(longest, longest if most is None else most))]
    if all(isinstance(c, dict) and all(k.isdigit() for k in c) for _, c in columns):
        rows = {k: None for _, c in columns for k in c}
        return [{n: c[k] for n, c in columns if k in c} for k in islice(sorted(rows, key=int), most)]
    return None
