"""What surrounds the work on this host: its cloud, what is scheduled, the names it goes by. Changes nothing.

The cloud is asked by the link-local address that AWS, Google Cloud and Azure have in common, or where their own tools' variables say.
"""

import base64
import calendar
import glob
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time

from backends.probes.agent.host import read, which

METADATA = "169.254.169.254"
WAIT = 1.0
MOST = 100
VENDORS = ("/usr/lib/systemd/", "/lib/systemd/", "/run/systemd/generator")
CRON = re.compile(r"^\s*(@[a-z]+|(?:[0-9a-zA-Z*,/?-]+\s+){4}[0-9a-zA-Z*,/?-]+)\s+(\S.*)$")
PATH = re.compile(r"^(?:/|\./|~/)?[A-Za-z0-9_./-]{1,200}$")
INSTANT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")


def look(asked: "dict[str, object]") -> "dict[str, object]":
    """`asked` has `tls_ports`, local ports whose certificates are looked at."""
    ports = asked.get("tls_ports")
    return {
        "cutover": "around",
        "cloud": cloud(),
        "schedules": (crons() + timers())[:MOST],
        "names": names(),
        "certificates": certificates([port for port in ports if isinstance(port, int)] if isinstance(ports, list) else []),
    }


# the cloud


def cloud() -> "dict[str, object]":
    """provider, life (spot, on-demand or None), region, kind of machine; `error` where nothing answers."""
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return {"error": "the host's environment forbids to ask (AWS_EC2_METADATA_DISABLED)"}
    place = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or os.environ.get("GCE_METADATA_HOST") or METADATA
    place = re.sub(r"^http://|/.*$", "", place)
    try:
        return google(place) or azure(place) or aws(place) or {"error": "what answers is no cloud's metadata service"}
    except (OSError, ValueError, http.client.HTTPException) as error:
        return {"error": "no metadata service answers: " + str(error)[:100]}


def fetch(place: str, path: str, headers: "dict[str, str]", method: str = "GET") -> "tuple[str, dict[str, str]]":
    """The text and the headers; empty where it is refused."""
    connection = http.client.HTTPConnection(place, timeout=WAIT)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        text = answer.read(1 << 16).decode("utf-8", "replace")
        return (text if answer.status == 200 else ""), {key.lower(): value for key, value in answer.getheaders()}
    finally:
        connection.close()


def google(place: str) -> "dict[str, object] | None":
    base, flavour = "/computeMetadata/v1/instance/", {"Metadata-Flavor": "Google"}
    told, headers = fetch(place, base + "scheduling/preemptible", flavour)
    if headers.get("metadata-flavor") != "Google":
        return None
    zone = fetch(place, base + "zone", flavour)[0].rpartition("/")[2]
    life = {"TRUE": "spot", "FALSE": "on-demand"}.get(told.strip().upper())
    machine = fetch(place, base + "machine-type", flavour)[0].rpartition("/")[2]
    return {
        "provider": "gcp",
        "life": life,
        "by": "scheduling/preemptible",
        "region": zone.rpartition("-")[0],
        "machine": machine,
    }


def azure(place: str) -> "dict[str, object] | None":
    told = fetch(place, "/metadata/instance/compute?api-version=2021-02-01&format=json", {"Metadata": "true"})[0]
    try:
        value = json.loads(told)
    except ValueError:
        return None
    if not isinstance(value, dict) or "vmSize" not in value:
        return None
    life = {"spot": "spot", "low": "spot", "regular": "on-demand"}.get(str(value.get("priority")).lower())
    region, machine = value.get("location"), value.get("vmSize")
    return {"provider": "azure", "life": life, "by": "compute/priority", "region": region, "machine": machine}


def aws(place: str) -> "dict[str, object] | None":
    token = fetch(place, "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, "PUT")[0]
    headers = {"X-aws-ec2-metadata-token": token} if token else {}
    told = fetch(place, "/latest/meta-data/instance-life-cycle", headers)[0].strip()
    machine = fetch(place, "/latest/meta-data/instance-type", headers)[0].strip()
    if not re.match(r"^[a-z0-9-]+\.[a-z0-9-]+$", machine):
        return None
    life = {"spot": "spot", "on-demand": "on-demand", "scheduled": "on-demand", "capacity-block": "on-demand"}.get(told)
    region = fetch(place, "/latest/meta-data/placement/region", headers)[0].strip()
    return {"provider": "aws", "life": life, "by": "instance-life-cycle", "region": region, "machine": machine}


# what is scheduled


def crons() -> "list[dict[str, object]]":
    out = []  # type: list[dict[str, object]]
    for path in ["/etc/crontab", *sorted(glob.glob("/etc/cron.d/*"))]:
        out += cron_lines(read(path, 1 << 18), path, True)
    for path in sorted(glob.glob("/var/spool/cron/crontabs/*") + glob.glob("/var/spool/cron/*")):
        out += cron_lines(read(path, 1 << 18), path, False) if os.path.isfile(path) else []
    if os.getuid() != 0 and which("crontab"):
        out += cron_lines(run(["crontab", "-l"]), "crontab -l", False)
    return out


def cron_lines(text: str, path: str, has_user: bool) -> "list[dict[str, object]]":
    """Of each the schedule and which program or script it starts; what people write beside it stays on the host."""
    out = []  # type: list[dict[str, object]]
    for line in text.splitlines():
        found = CRON.match(line)
        if line.lstrip().startswith("#") or not found or "run-parts" in line:
            continue
        words = found.group(2).split()[1:] if has_user else found.group(2).split()
        what = started(words)
        if what:
            out.append({"what": what, "schedule": found.group(1), "from": path})
    return out


def started(words: "list[str]") -> "str | None":
    """A script by its path, else the first word that is a program."""
    plain = [word for word in words if PATH.match(word) and not word.startswith("/dev/")]
    scripts = [word for word in plain if word.endswith((".py", ".sh", ".R", ".pl"))]
    programs = [
        word for word in plain if word not in ("cd", "test", "nice", "env", "exec", "timeout", "flock") and not word.isdigit()
    ]
    return next(iter(scripts or programs), None)


def timers() -> "list[dict[str, object]]":
    """Of systemd's, the system's and our user's; those that the distribution brings are left out."""
    out = []  # type: list[dict[str, object]]
    for more in ([], ["--user"]):
        asked = ["systemctl", *more, "show", "*.timer", "--all", "--property=Id,Unit,FragmentPath,TimersCalendar,TimersMonotonic"]
        for block in run(asked).split("\n\n") if which("systemctl") else []:
            told = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            if not told.get("Unit") or told.get("FragmentPath", "").startswith(VENDORS):
                continue
            for spec in re.findall(r"OnCalendar=([^;}]{1,200}?) ;", block):
                gaps = calendar_gaps(spec)
                out.append({"what": told["Unit"], "schedule": "OnCalendar=" + spec, "from": told.get("Id"), "gaps": gaps})
            for spec in re.findall(r"(?:OnUnitActiveUSec|OnUnitInactiveUSec)=([^;}]{1,60}?) ;", block):
                span = re.search(r"^\s*[μu]s:\s*(\d+)", run(["systemd-analyze", "timespan", spec]), re.M)
                gaps = [int(span.group(1)) / 1e6] * 2 if span else None
                out.append({"what": told["Unit"], "schedule": "each " + spec, "from": told.get("Id"), "gaps": gaps})
    return out


def calendar_gaps(spec: str) -> "list[float] | None":
    """The least and the most seconds between the next ten times."""
    told = run(["systemd-analyze", "calendar", "--iterations=10", spec])
    times = [calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S")) for text in INSTANT.findall(told)]
    times = sorted(set(times))
    gaps = [b - a for a, b in zip(times, times[1:])]  # noqa: B905, RUF007 - Python 3.6
    return [float(min(gaps)), float(max(gaps))] if gaps else None


def run(argv: "list[str]") -> str:
    """What it prints, empty where it cannot; in English and in UTC."""
    env = dict(os.environ, LC_ALL="C.UTF-8", TZ="UTC")
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5, env=env, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[: 1 << 20].decode("utf-8", "replace")


# names


def names() -> "dict[str, list[str]]":
    """By where they are from: the host's own, and those of other machines in /etc/hosts."""
    own = run(["hostname", "-f"]).strip() or socket.gethostname()
    others = []
    for line in read("/etc/hosts", 1 << 18).splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 1 and not words[0].startswith(("127.", "::1", "fe00", "ff0")):
            others.append(" ".join(words[:4]))
    return {"own": [own], "hosts": others[:MOST]}


def certificates(ports: "list[int]") -> "list[list[object]]":
    """[port, certificate in base64] of what serves TLS here on ports that are for it; no other port is spoken to."""
    out = []  # type: list[list[object]]
    for port in ports:
        address = listening_on(port)
        if address is None:
            continue
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with socket.create_connection((address, port), timeout=WAIT) as plain, context.wrap_socket(plain) as wrapped:
                found = wrapped.getpeercert(True)
        except (OSError, ValueError):
            continue
        if found:
            out.append([port, base64.b64encode(found).decode("ascii")])
    return out


def listening_on(port: int) -> "str | None":
    """An address of this machine where the port listens."""
    for line in read("/proc/net/tcp", 1 << 20).splitlines()[1:]:
        words = line.split()
        if len(words) > 3 and words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
            number = bytes.fromhex(words[1].partition(":")[0])
            return socket.inet_ntoa(number[::-1] if sys.byteorder == "little" else number).replace("0.0.0.0", "127.0.0.1")
    for line in read("/proc/net/tcp6", 1 << 20).splitlines()[1:]:
        words = line.split()
        if len(words) > 3 and words[3] == "0A" and words[1] == "0" * 32 + ":" + format(port, "04X"):
            return "127.0.0.1"
    return None


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(json.loads(sys.argv[1]))) + "\n")
