"""The machine itself and its processes, from /proc."""

import glob
import os
import pwd
import re
import socket
import sys
import time


class Host:
    """The machine itself, from /proc."""

    def __init__(self, paths: "list[str]") -> None:
        self.paths = paths
        self.cpu = (0, 0)
        self.net = (0.0, 0, 0)

    def fast(self) -> "dict[str, object]":
        first = read("/proc/stat", 512).split("\n", 1)[0].split()[1:]
        numbers = [int(word) for word in first] if first else [0] * 8
        total, idle = sum(numbers[:8]), sum(numbers[3:5])
        before, self.cpu = self.cpu, (total, idle)
        busy = total - before[0]
        load = read("/proc/loadavg").split()
        memory = {line.split(":")[0]: line.split()[1] for line in read("/proc/meminfo").splitlines() if len(line.split()) > 1}
        out = {
            "cpu": round(1 - (idle - before[1]) / busy, 3) if before[0] and busy > 0 else None,
            "load": [float(word) for word in load[:3]],
            "mem": [int(memory.get(key, 0)) * 1024 for key in ("MemTotal", "MemAvailable")],
        }  # type: dict[str, object]
        out.update(self.network())
        return out

    def network(self) -> "dict[str, object]":
        received = sent = 0
        for line in read("/proc/net/dev").splitlines()[2:]:
            name, _, rest = line.partition(":")
            words = rest.split()
            if name.strip() != "lo" and len(words) >= 9 and not name.strip().startswith(("veth", "docker", "br-", "cni", "cali")):
                received += int(words[0])
                sent += int(words[8])
        now = time.monotonic()
        before, self.net = self.net, (now, received, sent)
        if not before[0] or now <= before[0]:
            return {"rx": None, "tx": None}
        span = now - before[0]
        return {"rx": round((received - before[1]) / span), "tx": round((sent - before[2]) / span)}

    def slow(self) -> "dict[str, object]":
        disks = {}  # type: dict[str, object]
        for path in self.paths:
            try:
                seen = os.statvfs(path)
            except OSError as error:
                disks[path] = error.strerror or "?"
                continue
            disks[path] = [seen.f_blocks * seen.f_frsize, seen.f_bavail * seen.f_frsize, seen.f_files, seen.f_favail]
        return {"disks": disks}

    @staticmethod
    def facts() -> "dict[str, object]":
        release = dict(
            line.split("=", 1) for line in read("/etc/os-release").splitlines() if "=" in line and not line.startswith("#")
        )
        runtimes = [
            name for name in ("docker", "containerd", "podman", "crio", "enroot", "apptainer", "singularity") if which(name)
        ]
        mounts = []
        for line in read("/proc/mounts").splitlines():
            words = line.split()
            if len(words) > 2 and (words[0].startswith("/dev/") or words[2] in NETWORK_FILE_SYSTEMS):
                mounts.append([words[1], words[2]])
        uname = os.uname()
        boot = [line.split()[1] for line in read("/proc/stat").splitlines() if line.startswith("btime ")]
        return {
            "hostname": socket.gethostname(),
            "kernel": uname.release,
            "machine": uname.machine,
            "os": release.get("PRETTY_NAME", "").strip('"'),
            "glibc": os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None,
            "cpus": os.cpu_count(),
            "boot": int(boot[0]) if boot else None,
            "runtimes": runtimes,
            "toolkit": bool(which("nvidia-ctk") or which("nvidia-container-runtime")),
            "mounts": mounts[:64],
            "amd": bool(glob.glob("/sys/module/amdgpu") and (which("amd-smi") or which("rocm-smi"))),
            "python": "%d.%d.%d" % sys.version_info[:3],  # noqa: UP031
        }


# The UID stands in the last part that names a pod: `kubepods-burstable-podUID.slice` of systemd's driver, `podUID` of cgroupfs.
POD = re.compile(r"(?:^|-)pod([0-9a-f][0-9a-f_-]{7,60})(?:\.slice)?$")
NETWORK_FILE_SYSTEMS = (
    "nfs",
    "nfs4",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "fuse.gcsfuse",
    "fuse.s3fs",
    "fuse.juicefs",
    "weka",
    "cifs",
)


def which(name: str) -> bool:
    places = os.environ.get("PATH", "").split(":")
    places += ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/opt/rocm/bin"]
    return any(os.access(os.path.join(place, name), os.X_OK) for place in places if place)


def process(pid: int, used: "int | None") -> "dict[str, object]":
    out = {"pid": pid, "used": used, "user": None, "cmd": None, "job": None}  # type: dict[str, object]
    try:
        uid = os.stat("/proc/%d" % pid).st_uid  # noqa: UP031
        out["user"] = pwd.getpwuid(uid).pw_name
    except KeyError:
        out["user"] = str(uid)
    except OSError:
        return out  # of another pid namespace
    words = read("/proc/%d/cmdline" % pid, 400).split("\0")  # noqa: UP031
    out["cmd"] = " ".join(word for word in words if word)[:160]
    out["job"] = job_of(read("/proc/%d/cgroup" % pid, 4000))  # noqa: UP031
    return out


def job_of(cgroup: str) -> "str | None":
    """The Slurm job, pod or container that a cgroup names."""
    for line in cgroup.splitlines():
        parts = line.rpartition(":")[2].split("/")
        for part in parts:
            if part.startswith("job_") and part[4:].isdigit():
                return "slurm " + part[4:]
        pods = [found for found in map(POD.search, parts if "kubepods" in line else []) if found]
        if pods:
            return "pod " + pods[-1].group(1).replace("_", "-")
        for part in parts:
            if part.startswith("docker-"):
                return "container " + part[7:19]
            if part.endswith(".service"):
                return "unit " + part
    return None


def read(path: str, most: int = 1 << 16) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(most).decode("utf-8", "replace")
    except OSError:
        return ""
