"""What runs on this host beside its processes: containers with their images, and since when units are active. Starts nothing, changes nothing.

Containers are asked of whatever tool is there; of an image's variables only those leave the host that name the version of a framework or of CUDA.
"""

import glob
import json
import os
import re
import subprocess
import sys
import time

from backends.probes.agent.host import read, which
from backends.probes.agent.packages import PLACES, packages_in

VERSIONS = (
    "CUDA_VERSION", "PYTORCH_VERSION", "NVIDIA_PYTORCH_VERSION", "TENSORFLOW_VERSION", "NVIDIA_TENSORFLOW_VERSION", "JAX_VERSION", "VLLM_VERSION",
    "TRITON_SERVER_VERSION", "NVIDIA_TRITON_SERVER_VERSION",
)  # fmt: skip
VERSION = re.compile(r"^v?[0-9][0-9A-Za-z.+_-]{0,40}$")
IDENTITY = re.compile(r"^[0-9a-f]{64}$")
UNIT = re.compile(r"^[A-Za-z0-9:_.@\\-]{1,250}\.(?:service|scope)$")
MOST = 200
WAIT = 10


class Untold(Exception):
    """A tool is there, and does not tell."""


def look(asked: "dict[str, object]") -> "dict[str, object]":
    """`asked` has `wanted`, the containers whose packages are looked at, and `units`."""
    wanted, units = asked.get("wanted"), asked.get("units")
    found, untold = containers()
    for one in found:
        is_wanted = isinstance(wanted, list) and one["id"] in wanted
        one["packages"] = packages_of(one.pop("pid")) if is_wanted else []
    return {
        "cutover": "running",
        "containers": found[:MOST],
        "untold": untold,
        "units": since([str(unit) for unit in units][:MOST] if isinstance(units, list) else []),
    }


# containers


def containers() -> "tuple[list[dict[str, object]], list[str]]":
    """Those that run, each once whichever tools know it, and which tools do not tell."""
    found = {}  # type: dict[str, dict[str, object]]
    untold = []
    for tool, ask in (("docker", of_docker), ("podman", of_docker), ("crictl", of_cri), ("nerdctl", of_docker), ("ctr", of_ctr)):
        if not which(tool):
            continue
        try:
            for one in ask(tool):
                if IDENTITY.match(str(one["id"])):
                    found.setdefault(str(one["id"]), one)
        except (Untold, ValueError, LookupError, TypeError, AttributeError) as error:
            untold.append(tool + ": " + (str(error) if isinstance(error, Untold) else "it says what is no list of containers"))
    return list(found.values()), untold


def of_docker(tool: str) -> "list[dict[str, object]]":
    """docker, podman, nerdctl: `inspect` of each has the same names but for podman's `ImageName`."""
    ids = told([tool, "ps", "--no-trunc", "--quiet"]).split()[:MOST]
    inspected = json.loads(told([tool, "inspect", *ids])) if ids else []
    digests = digests_of(tool, sorted({str(one["Image"]) for one in inspected}))
    out = []
    for one in inspected:
        config, state = one.get("Config") or {}, one.get("State") or {}
        out.append(
            {
                "id": one["Id"],
                "name": str(one.get("Name") or "").lstrip("/"),
                "image": one.get("ImageName") or config.get("Image"),
                "digests": digests.get(str(one["Image"]), []),
                "versions": versions(config.get("Env")),
                "pid": state.get("Pid"),
                "by": tool,
            }
        )
    return out


def digests_of(tool: str, images: "list[str]") -> "dict[str, list[str]]":
    """By the image's id: the names with a digest under which a registry has it."""
    if not images:
        return {}
    try:
        inspected = json.loads(told([tool, "image", "inspect", *images]))
    except (Untold, ValueError):
        return {}  # one that was removed beneath its container costs the others theirs
    return {image: one.get("RepoDigests") or [] for image, one in zip(images, inspected)}  # noqa: B905 - Python 3.6


def of_cri(tool: str) -> "list[dict[str, object]]":
    """What kubelet's runtime runs (containerd, CRI-O)."""
    out = []
    for one in (json.loads(told([tool, "ps", "--output", "json"])).get("containers") or [])[:MOST]:
        try:
            inspected = json.loads(told([tool, "inspect", "--output", "json", str(one["id"])]))
        except Untold:
            continue  # it has ended between
        status, info = inspected.get("status") or {}, inspected.get("info") or {}
        labels = one.get("labels") or {}
        reference = str(status.get("imageRef") or one.get("imageRef") or "")
        given = (info.get("config") or {}).get("envs") or []
        out.append(
            {
                "id": one["id"],
                "name": (one.get("metadata") or {}).get("name"),
                "pod": str(labels.get("io.kubernetes.pod.namespace")) + "/" + str(labels.get("io.kubernetes.pod.name")),
                "image": (status.get("image") or {}).get("image"),
                "digests": [reference] if "@sha256:" in reference else [],
                "versions": versions([str(entry.get("key")) + "=" + str(entry.get("value")) for entry in given]),
                "pid": info.get("pid"),
                "by": tool,
            }
        )
    return out


def of_ctr(tool: str) -> "list[dict[str, object]]":
    """containerd itself, where no other tool is there that knows its namespaces."""
    out = []
    for space in told([tool, "namespaces", "ls", "--quiet"]).split():
        tasks = [line.split() for line in told([tool, "--namespace", space, "tasks", "ls"]).splitlines()[1:]]
        pids = {words[0]: int(words[1]) for words in tasks if len(words) > 2 and words[2] == "RUNNING"}
        images = [line.split() for line in told([tool, "--namespace", space, "images", "ls"]).splitlines()[1:]]
        digests = {words[0]: words[2] for words in images if len(words) > 2 and words[2].startswith("sha256:")}
        for line in told([tool, "--namespace", space, "containers", "ls"]).splitlines()[1:]:
            words = line.split()
            if len(words) > 1 and words[0] in pids:
                digest = [words[1].rpartition(":")[0] + "@" + digests[words[1]]] if words[1] in digests else []
                one = {"id": words[0], "name": "", "image": words[1], "digests": digest, "versions": {}, "pid": pids[words[0]]}
                out.append(dict(one, by=tool))
    return out


def versions(variables: object) -> "dict[str, str]":
    """Of an image's variables the versions that its makers write there."""
    texts = [entry for entry in variables if isinstance(entry, str)] if isinstance(variables, list) else []
    given = dict(entry.split("=", 1) for entry in texts if "=" in entry)
    return {name: given[name] for name in VERSIONS if VERSION.match(given.get(name, ""))}


def packages_of(pid: object) -> "list[list[object]]":
    """[name, version, CUDA, folder] in the files that a container sees, by way of its first process."""
    root = "/proc/" + str(pid) + "/root"
    if not isinstance(pid, int) or pid <= 0 or not os.access(root + "/", os.R_OK | os.X_OK):
        return []
    raw = read("/proc/" + str(pid) + "/environ", 1 << 18)
    own = dict(entry.split("=", 1) for entry in raw.split("\0") if "=" in entry)
    places = [*PLACES, "/root/.local/lib/python3*/site-packages", "/app/*/lib/python3*/site-packages"]
    places += [
        glob.escape(own[name]) + "/lib/python3*/site-packages"
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX")
        if own.get(name, "").startswith("/")
    ]
    found = {path for place in places for path in glob.glob(root + place) if is_inside(root, path)}
    out = {}  # type: dict[tuple[str, str], list[object]]
    for package, version, cuda, folder in packages_in(sorted(found)[:MOST]):
        out.setdefault((str(package), str(version)), [package, version, cuda, str(folder)[len(root) :]])
    return sorted(out.values(), key=str)


def is_inside(root: str, path: str) -> bool:
    """No part of the way is a link that leads to the host's own files."""
    at = root
    for name in path[len(root) :].strip("/").split("/"):
        at += "/" + name
        if name == ".." or (os.path.islink(at) and os.readlink(at).startswith(("/", ".."))):
            return False
    return True


# units


def since(units: "list[str]") -> "dict[str, float]":
    """Hours that each unit has been active, the system's or our user's; nothing of what is not."""
    out = {}
    now = time.monotonic()
    for unit in units if which("systemctl") else []:
        for more in ([], ["--user"]) if UNIT.match(unit) else ():
            try:
                text = told(
                    [
                        "systemctl",
                        *more,
                        "show",
                        unit,
                        "--property=ActiveState,ActiveEnterTimestampMonotonic,InactiveExitTimestampMonotonic",
                    ]
                )
            except Untold:
                continue
            shown = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
            entered = shown.get("ActiveEnterTimestampMonotonic") if shown.get("ActiveState") == "active" else None
            entered = shown.get("InactiveExitTimestampMonotonic") if shown.get("ActiveState") == "activating" else entered
            if entered and entered.isdigit() and int(entered):
                out[unit] = round((now - int(entered) / 1e6) / 3600, 3)
                break
    return {unit: hours for unit, hours in out.items() if hours >= 0}


def told(argv: "list[str]") -> str:
    """What a tool prints. Raises `Untold`."""
    try:
        done = subprocess.run(  # noqa: UP022 - Python 3.6
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=WAIT, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Untold(str(error)[:200])  # noqa: B904 - its words are all of it
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Untold(said[0][:200] if said else "it ended with " + str(done.returncode))
    return done.stdout[: 1 << 23].decode("utf-8", "replace")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(json.loads(sys.argv[1]))) + "\n")
