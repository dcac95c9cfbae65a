"""The loop: one JSON line a tick with what has changed since the line before; every 60th is whole.

Standard input brings questions of the clock; when it ends, or a write fails, we end too: nothing of us outlives its channel.
"""

import ctypes
import json
import os
import select
import sys
import time

from backends.probes.agent.host import Host
from backends.probes.agent.nvml import LOST, SLOW_EVERY, Failed, Nvml, gpu_fast, gpu_slow

WHOLE_EVERY = 60  # lines
AGAIN_EVERY = 30  # ticks between two tries to find what was not there


class Teller:
    """Prints what has changed. A value that is the same as in the line before is left out."""

    def __init__(self) -> None:
        self.said = {}  # type: dict[str, dict[str, object]]
        self.lines = 0

    def tell(self, whole: "dict[str, dict[str, object]]") -> None:
        everything = self.lines % WHOLE_EVERY == 0
        self.lines += 1
        changed = {}
        for part, values in whole.items():
            before = {} if everything else self.said.get(part, {})
            some = {key: value for key, value in values.items() if key not in before or before[key] != value}
            if some or part.startswith("g"):
                changed[part] = some
        gone = [] if everything else [part for part in self.said if part not in whole]
        self.said = {part: dict(values) for part, values in whole.items()}
        line = {"t": round(time.time(), 3), "n": self.lines, "p": changed}  # type: dict[str, object]
        if everything:
            line["whole"] = 1
        if gone:
            line["gone"] = gone
        say(line)


def say(value: "dict[str, object]") -> None:
    sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def gpus(nvml: Nvml, tick: int, known: "dict[int, dict[str, object]]") -> "dict[str, dict[str, object]]":
    """Every GPU's values, under `gN`; of a GPU that is lost only that."""
    out = {}
    nvml.watch_xids()
    for index, handle in enumerate(nvml.handles):
        values = known.setdefault(index, {})
        values["lost"] = None
        try:
            if not handle.value:
                raise Failed(LOST)
            if tick % SLOW_EVERY == 0 or "uuid" not in values:
                values.update(gpu_slow(nvml, handle))
            values.update(gpu_fast(nvml, handle))
        except Failed as error:
            kept = {str(key): values[key] for key in ("uuid", "name") if key in values}
            values.clear()
            values.update(kept)
            values["lost"] = error.code
        if index in nvml.xids:
            values["xid"] = nvml.xids[index]
        out["g%d" % index] = values  # noqa: UP031
    return out


def hello(host: Host, nvml: Nvml) -> None:
    """Who we are, and why we read no GPU where we do not."""
    value = {"cutover": 1, "facts": host.facts(), "error": nvml.error}  # type: dict[str, object]
    if nvml.error is None:
        value["driver"] = nvml.text("nvmlSystemGetDriverVersion")
        version = ctypes.c_int()
        try:
            nvml.call("nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(version))
            value["cuda"] = "%d.%d" % (version.value // 1000, version.value % 1000 // 10)  # noqa: UP031
        except Failed:
            value["cuda"] = None
    say(value)


def main(period: float, paths: "list[str]") -> None:
    host, nvml = Host(paths), Nvml()
    hello(host, nvml)
    teller, known, tick = Teller(), {}, 0  # type: tuple[Teller, dict[int, dict[str, object]], int]
    slow = {}  # type: dict[str, object]
    due = time.monotonic()
    while True:
        if tick and tick % AGAIN_EVERY == 0 and (nvml.error or any(values.get("lost") for values in known.values())):
            nvml.again()
            hello(host, nvml)
        if tick % SLOW_EVERY == 0:
            slow = host.slow()
        values = host.fast()
        values.update(slow)
        parts = {"h": values}
        parts.update(gpus(nvml, tick, known))
        teller.tell(parts)
        tick += 1
        due = max(due + period, time.monotonic())
        answer_until(due)


def answer_until(due: float) -> None:
    """Answer questions of the clock until the next tick; the end of the input is our end."""
    while True:
        wait = due - time.monotonic()
        if wait <= 0:
            return
        ready, _, _ = select.select([0], [], [], wait)
        if ready:
            asked = os.read(0, 4096)
            if not asked:
                os._exit(0)
            for word in asked.decode("ascii", "replace").split():
                say({"ping": word[:40], "t": time.time()})


if __name__ == "__main__":
    try:
        main(float(sys.argv[1]), json.loads(sys.argv[2]))
    except (KeyboardInterrupt, BrokenPipeError, ConnectionError):
        os._exit(0)
