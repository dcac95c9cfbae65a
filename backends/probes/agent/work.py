"""What works on this host with a GPU: the processes, what they read, which ports they hold. Changes nothing.

A process is told by program, script and unit; of its environment and its arguments only names and what a URL of a store leads to leave the
host, of what is secret-like a keyed hash, never a value.
"""

import glob
import hashlib
import hmac
import json
import os
import re
import sys

from backends.probes.agent.host import job_of, process, read

# A user and password in front are passed over; where they cannot be told from the place, nothing is taken.
STORE = re.compile(r"\b(s3|gs|az)://(?:[^\s/@\"']*@)?([A-Za-z0-9][A-Za-z0-9._-]{0,200})(?=[/\s\"',;?]|\0|$)")
# Names of variables whose value is a secret, as people call them; a user and a password in a URL are one too.
SECRET_NAME = re.compile(
    r"(?:^|_)(?:api_?key|access_?key|account_?key|auth|credentials?|dsn|key|pass|passwd|password|pat|private|pwd|secrets?|token|webhook)"
    r"(?:_|\d|$)|(?:password|passwd|secret|token|apikey)",
    re.IGNORECASE,
)
USERINFO = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
HASH_SHOWN = 12  # hexadecimal digits: enough to tell the secrets of one draft apart
SCRIPT = re.compile(r"^[A-Za-z0-9_./-]{1,200}$")
CONTAINER = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?=[./]|$)", re.M)
MOST = 200


def look(asked: "dict[str, object]", key: bytes) -> "dict[str, object]":
    """Values that are secret-like are hashed under `key`. `asked` has `pids`: those that the GPU's own tool names. Others that hold a GPU's device open are found too."""
    named = asked["pids"]
    pids = {int(pid) for pid in named if isinstance(pid, int)} if isinstance(named, list) else set()
    unread = 0
    for entry in glob.glob("/proc/[0-9]*"):
        try:
            links = [os.readlink(entry + "/fd/" + fd) for fd in os.listdir(entry + "/fd")]
        except OSError as error:
            unread += error.errno == 13
            continue
        if any(re.match(r"/dev/(nvidia\d+|kfd)$", link) for link in links):
            pids.add(int(entry.rpartition("/")[2]))
    ports = listening()
    out = [one for one in (of_process(pid, ports, key) for pid in sorted(pids)[:MOST]) if one is not None]
    return {"cutover": "work", "processes": out, "unread": unread, "mounts": mounts()}


def of_process(pid: int, ports: "dict[str, int]", key: bytes) -> "dict[str, object] | None":
    base = "/proc/" + str(pid)
    words = [word for word in read(base + "/cmdline", 1 << 16).split("\0") if word]
    if not words:
        return None
    raw = read(base + "/environ", 1 << 18)
    variables = dict(entry.split("=", 1) for entry in raw.split("\0") if "=" in entry)
    stores = {scheme + "://" + place for scheme, place in STORE.findall("\0".join(words) + "\0" + raw)}
    started = read(base + "/stat", 4096).rpartition(")")[2].split()
    hertz = os.sysconf("SC_CLK_TCK")
    up = read("/proc/uptime").split()
    cgroup = read(base + "/cgroup", 4000)
    return {
        "pid": pid,
        "user": process(pid, None)["user"],
        "program": os.path.basename(words[0]),
        "script": script_of(words),
        "job": job_of(cgroup),
        "container": container_of(cgroup),
        "hours": round((float(up[0]) - int(started[19]) / hertz) / 3600, 2) if len(started) > 19 and up else None,
        "environment": sorted(name for name in variables if re.match(r"^[A-Za-z_][A-Za-z0-9_]*$", name))[:MOST],
        "hashes": {
            name: hash_of(value, key)
            for name, value in sorted(variables.items())[: 5 * MOST]
            if value and (SECRET_NAME.search(name) or USERINFO.search(value))
        },
        "stores": sorted(stores)[:MOST],
        "ports": sorted({ports[link] for link in sockets(base) if link in ports})[:MOST],
        "has_environment": bool(raw),
    }


def container_of(cgroup: str) -> "str | None":
    """The container that a cgroup names, however its runtime writes it: `docker-ID.scope`, `libpod-ID.scope`, `cri-containerd-ID.scope`, `/docker/ID`."""
    found = CONTAINER.findall(cgroup)
    return found[-1] if found else None


def hash_of(value: str, key: bytes) -> str:
    return hmac.new(key, value.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:HASH_SHOWN]


def script_of(words: "list[str]") -> "str | None":
    """The script or module that an interpreter or launcher was given; nothing that could be a value."""
    for before, word in zip(words, words[1:]):  # noqa: B905, RUF007 - Python 3.6
        if before == "-m" and SCRIPT.match(word):
            return word
        if word.endswith(".py") and SCRIPT.match(word):
            return word
    return None


def sockets(base: str) -> "list[str]":
    out = []
    try:
        for fd in os.listdir(base + "/fd"):
            link = os.readlink(base + "/fd/" + fd)
            if link.startswith("socket:["):
                out.append(link[8:-1])
    except OSError:
        pass
    return out


def listening() -> "dict[str, int]":
    """The inode of each listening TCP socket, and its port."""
    out = {}  # type: dict[str, int]
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in read(path, 1 << 20).splitlines()[1:]:
            words = line.split()
            if len(words) > 9 and words[3] == "0A":
                out[words[9]] = int(words[1].rpartition(":")[2], 16)
    return out


def mounts() -> "list[list[object]]":
    """[path, kind, size, used] of what may hold data: not the root, nothing of the system's own."""
    out = []  # type: list[list[object]]
    for line in read("/proc/mounts").splitlines():
        words = line.split()
        path = words[1].replace("\\040", " ") if len(words) > 2 else "/"
        real = len(words) > 2 and (
            words[0].startswith("/dev/") or ":" in words[0] or words[2].startswith(("fuse.", "lustre", "gpfs", "beegfs"))
        )
        if (
            not real
            or path == "/"
            or path.startswith(("/boot", "/snap", "/var/lib/docker", "/run", "/etc", "/proc", "/sys", "/dev", "/usr"))
        ):
            continue
        if os.path.isdir(path) and len(out) < MOST:
            seen = os.statvfs(path)
            out.append([path, words[2], seen.f_blocks * seen.f_frsize, (seen.f_blocks - seen.f_bfree) * seen.f_frsize])
    return out


if __name__ == "__main__":
    sys.stdout.write(
        json.dumps(look(json.loads(sys.argv[1]), bytes.fromhex(sys.stdin.readline().strip()))) + "\n"
    )  # the key: not on a command line
