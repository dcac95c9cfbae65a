"""One look at what a workload finds on this host: frameworks, images, limits, kernel settings, environment. Changes nothing.

Values of the environment leave the host as keyed hashes only, so that two hosts can be compared and nothing is told.
"""

import glob
import hashlib
import hmac
import json
import os
import re
import resource
import subprocess
import sys
import time

from backends.probes.agent.host import Host, read, which
from backends.probes.agent.packages import PLACES, folders_of, packages_in

OWN_PLACES = (
    "~/.local/lib/python3*/site-packages", "~/*/lib/python3*/site-packages", "~/.*/lib/python3*/site-packages", "~/*/envs/*/lib/python3*/site-packages",
)  # fmt: skip
SETTINGS = (
    "vm/max_map_count", "vm/nr_hugepages", "vm/overcommit_memory", "net/core/rmem_max", "net/core/wmem_max", "net/core/somaxconn",
    "fs/inotify/max_user_watches", "fs/aio-max-nr", "kernel/shmmax", "kernel/pid_max",
)  # fmt: skip
LIMITS = {"nofile": "RLIMIT_NOFILE", "memlock": "RLIMIT_MEMLOCK", "nproc": "RLIMIT_NPROC", "stack": "RLIMIT_STACK"}
OF_A_SESSION = {
    "HOME", "LOGNAME", "MAIL", "MOTD_SHOWN", "OLDPWD", "PWD", "SHELL", "SHLVL", "TERM", "USER", "_", "HOSTNAME", "DISPLAY", "COLUMNS", "LINES",
}  # fmt: skip
CONFIG = (
    "/etc/nccl.conf", "~/.nccl.conf", "/etc/docker/daemon.json", "/etc/nvidia-container-runtime/config.toml", "/etc/containerd/config.toml",
    "/etc/enroot/enroot.conf", "/etc/pip.conf", "~/.config/pip/pip.conf", "~/.condarc",
)  # fmt: skip
MOST = 200


def look(asked: "dict[str, object]") -> "dict[str, object]":
    """`asked` has `salt` (hex), `images`, `paths` and `files`, lists of text."""
    salt = bytes.fromhex(str(asked["salt"]))
    files = asked.get("files")
    images, paths = asked["images"], asked["paths"]
    shm = statvfs("/dev/shm")
    return {
        "cutover": "facts",
        "host": Host.facts(),
        "user": os.environ.get("USER") or str(os.getuid()),
        "memory": memory(),
        "shm": shm,
        "limits": {name: resource.getrlimit(getattr(resource, of))[0] for name, of in LIMITS.items() if hasattr(resource, of)},
        "settings": {name.replace("/", "."): read("/proc/sys/" + name, 100).split() for name in SETTINGS},
        "zone": [time.timezone, os.environ.get("TZ") or "/".join(os.path.realpath("/etc/localtime").split("/")[-2:])],
        "interconnect": interconnect(),
        "links": sorted(os.listdir("/sys/class/infiniband"))[:32] if os.path.isdir("/sys/class/infiniband") else [],
        "packages": packages(),
        "images": {str(name): image(str(name)) for name in images} if isinstance(images, list) else {},
        "paths": {str(path): writable(str(path)) for path in paths} if isinstance(paths, list) else {},
        "environment": environment(salt),
        "files": {path: content(salt, path) for path in (*CONFIG, *(map(str, files) if isinstance(files, list) else ()))},
    }


def memory() -> "int | None":
    found = re.search(r"^MemTotal:\s+(\d+) kB", read("/proc/meminfo"), re.M)
    return int(found.group(1)) * 1024 if found else None


def statvfs(path: str) -> "int | None":
    try:
        seen = os.statvfs(path)
    except OSError:
        return None
    return seen.f_blocks * seen.f_frsize


def packages() -> "list[list[object]]":
    """[name, version, CUDA that it was built for, folder]."""
    places = [*PLACES, *OWN_PLACES]
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if os.environ.get(name):
            places.append(glob.escape(os.environ[name]) + "/lib/python3*/site-packages")
    return packages_in(folders_of(places))


def image(name: str) -> "dict[str, object]":
    """What is known of a container image that lies on this host."""
    tools = [tool for tool in ("docker", "podman") if which(tool)]
    if not tools:
        return {"error": "neither docker nor podman is there"}
    words = ""
    for tool in tools:
        try:
            argv = [tool, "image", "inspect", "--", name]
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=15)  # noqa: UP022 - Python 3.6
        except (OSError, subprocess.TimeoutExpired) as error:
            words = str(error)
            continue
        if done.returncode == 0:
            return of_image(done.stdout)
        words = done.stderr.decode("utf-8", "replace").strip()[-200:]
    return {"error": words or "it is not there"}


def of_image(told: bytes) -> "dict[str, object]":
    try:
        one = json.loads(told.decode("utf-8", "replace"))[0]
        out = of_config(one.get("Config") or {})
        out["id"], out["machine"] = one.get("Id"), one.get("Architecture")
        out["digests"] = [digest.rpartition("@")[2] for digest in one.get("RepoDigests") or []]
        return out
    except (ValueError, LookupError, AttributeError, TypeError):
        return {"error": "its tool says what is no description of an image"}


def of_config(config: "dict[str, object]") -> "dict[str, object]":
    """What the variables and labels of an image tell of CUDA: those that NVIDIA's base images set."""
    given, labels = config.get("Env"), config.get("Labels")
    texts = [entry for entry in given if isinstance(entry, str)] if isinstance(given, list) else []
    variables = dict(entry.split("=", 1) for entry in texts if "=" in entry)
    named = labels.get("com.nvidia.cuda.version") if isinstance(labels, dict) else None
    require = variables.get("NVIDIA_REQUIRE_CUDA")
    if variables.get("NVIDIA_DISABLE_REQUIRE", "").lower() in ("1", "true"):
        require = None
    return {"cuda": variables.get("CUDA_VERSION") or named, "require": require, "pytorch": variables.get("PYTORCH_VERSION")}


def writable(path: str) -> "list[object]":
    """[is it there, may we write there, or where it is not there in the nearest folder above it that is, that folder, its file system's size, what of
    it is free to us]."""
    there = os.path.isdir(path)
    while not os.path.isdir(path) and path not in ("", "/"):
        path = os.path.dirname(path.rstrip("/"))
    path = path or "/"
    try:
        seen = os.statvfs(path)
        room = [seen.f_blocks * seen.f_frsize, seen.f_bavail * seen.f_frsize]  # type: list[int | None]
    except OSError:
        room = [None, None]
    return [there, os.access(path, os.W_OK | os.X_OK), path, *room]


def content(salt: bytes, path: str) -> "str | None":
    """A file as a keyed hash; `absent`, or None where it cannot be read. The host's own name counts as nothing."""
    host = os.uname().nodename.encode()
    try:
        with open(os.path.expanduser(path), "rb") as file:
            return hmac.new(salt, file.read(1 << 20).replace(host, b"HOST"), hashlib.sha256).hexdigest()[:16]
    except FileNotFoundError:
        return "absent"
    except OSError:
        return None


def interconnect() -> "dict[str, object]":
    """How GPUs are joined to each other and to other hosts, as the tools and the kernel print it."""
    ports = []
    for path in sorted(glob.glob("/sys/class/infiniband/*/ports/*"))[:MOST]:
        words = path.split("/")
        ports.append([words[-3] + "/" + words[-1], read(path + "/state", 100).strip(), read(path + "/rate", 100).strip()])
    libraries = set()  # type: set[str]
    for place in ("/usr/lib/*", "/usr/lib64", "/usr/local/lib", "/usr/local/cuda/lib64"):
        libraries.update(path.rpartition(".so.")[2] for path in glob.glob(place + "/libnccl.so.*.*"))
    return {
        "topology": said(["nvidia-smi", "topo", "-m"]),
        "links": said(["nvidia-smi", "nvlink", "-s"]),
        "ports": ports,
        "nccl": sorted(libraries)[:20],
        "lost": lost_interfaces(),
    }


def said(argv: "list[str]") -> str:
    """What a tool prints, where it is there and ends well."""
    if not which(argv[0]):
        return ""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=15)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout[:65536].decode("utf-8", "replace") if done.returncode == 0 else ""


def lost_interfaces() -> "list[str]":
    """NCCL's and Gloo's variables that name no interface or device of this host. NCCL's documentation: names are prefixes, `=` before them wants
    them whole, `^` leaves them out; a device may be followed by its port."""
    there = {
        "NCCL_SOCKET_IFNAME": "/sys/class/net",
        "GLOO_SOCKET_IFNAME": "/sys/class/net",
        "NCCL_IB_HCA": "/sys/class/infiniband",
    }
    given, out = variables(), []
    for name, folder in sorted(there.items()):
        value = given.get(name, "")
        names = [word.partition(":")[0] for word in value.lstrip("=").split(",") if word]
        if not names or value.startswith("^"):
            continue
        present = os.listdir(folder) if os.path.isdir(folder) else []
        whole = value.startswith("=") or name.startswith("GLOO")
        if not any(one == word or (not whole and one.startswith(word)) for word in names for one in present):
            out.append(name)
    return out


def environment(salt: bytes) -> "dict[str, str]":
    """What every session gets, each value a keyed hash."""
    host = os.uname().nodename
    return {
        name: hmac.new(salt, value.replace(host, "HOST").encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:16]
        for name, value in sorted(variables().items())[: 5 * MOST]
        if name not in OF_A_SESSION and not name.startswith(("SSH_", "XDG_", "LC_", "BASH_FUNC"))
    }


def variables() -> "dict[str, str]":
    """/etc/environment and our own."""
    found = {}  # type: dict[str, str]
    for line in read("/etc/environment").splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name and not name.startswith("#"):
            found[name.replace("export ", "").strip()] = value.strip().strip("\"'")
    found.update(os.environ)
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(json.loads(sys.argv[1]))) + "\n")
