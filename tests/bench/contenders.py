"""The programs that are measured on the same work: ours and its peers, and how each is told what to do."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.processes import Command
from tests.bench.servers import FolderPlace, Missing, Place, S3Place
from tests.peers.openssh import OpenSsh

ROOT = Path(__file__).resolve().parents[2]
OURS = "cutover"
CIPHER = "aes128-gcm@openssh.com"
NO_WORKERS: Mapping[str, OpenSsh] = {}


@dataclass(frozen=True, slots=True)
class Contender:
    """`command(source, target, scratch)` copies everything. Of one family's variants the fastest is taken."""

    family: str
    variant: str
    command: Callable[[Place, Place, Path], Command]

    @property
    def name(self) -> str:
        return f"{self.family} {self.variant}".strip()


def program(name: str) -> str:
    """Of this environment, else of PATH. Raises `Missing`."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed (make bench installs rclone and s5cmd)")
    return found


# cutover


def cutover(transfer: str = "{}", dataset: str = "", variant: str = "") -> Contender:
    """`cutover sync` with a new state folder. `transfer` is that part of the plan, `dataset` more of the dataset's fields."""

    def command(source: Place, target: Place, scratch: Path) -> Command:
        return sync_command(scratch, {"old": source, "new": target}, transfer=transfer, dataset=dataset)

    return Contender(OURS, variant, command)


def sync_command(
    scratch: Path,
    stores: Mapping[str, Place],
    *,
    transfer: str = "{}",
    dataset: str = "",
    state: Path | None = None,
    workers: Mapping[str, OpenSsh] = NO_WORKERS,
) -> Command:
    """One round from the store `old` to the store `new`; further ones for `dataset` to name. State is kept in `scratch/state`. `workers`
    are hosts for `transfer` to name."""
    env = {"HOME": str(scratch)}
    lines = ["version: 1", "name: bench", "legacy: {provider: a}", "target: {provider: b}", "stores:"]
    hosts, options = [], []
    for name, place in stores.items():
        if isinstance(place, S3Place):
            e = place.endpoint
            env |= {f"{name.upper()}_KEY": e.access_key, f"{name.upper()}_SECRET": e.secret_key}
            keys = f'access_key: "${{env:{name.upper()}_KEY}}", secret_key: "${{env:{name.upper()}_SECRET}}"'
            lines.append(f'  {name}: {{url: "s3://{place.bucket}/", endpoint: "{e.url}", region: {e.region}, {keys}}}')
        elif place.ssh is not None:
            hosts.append(f"{{name: box-{name}, address: {place.ssh.address}, port: {place.ssh.port}, user: {place.ssh.user}}}")
            options = ["-F", str(place.ssh.config), "--known-hosts", str(place.ssh.known_hosts)]
            lines.append(f'  {name}: {{url: "ssh://box-{name}{place.path}/"}}')
        else:
            lines.append(f'  {name}: {{url: "file://{place.path}/"}}')
    for name, ssh in workers.items():
        hosts.append(f"{{name: {name}, address: {ssh.address}, port: {ssh.port}, user: {ssh.user}}}")
        options = ["-F", str(ssh.config), "--known-hosts", str(ssh.known_hosts)]
    if hosts:
        lines[2] = f"legacy: {{provider: a, hosts: [{', '.join(hosts)}]}}"
    extra = f", {dataset}" if dataset else ""
    lines += ["datasets:", f"  - {{name: data, from: old, to: new{extra}}}", f"transfer: {transfer}", ""]
    plan = scratch / "plan.yaml"
    plan.write_text("\n".join(lines))
    argv = [program("cutover"), "sync", str(plan), "--state", str(state or scratch / "state"), "--json", *options]
    return Command(argv, env, scratch)


def verify_command(synced: Command) -> Command:
    """`cutover verify --re-read` of what that `cutover sync` was of."""
    at = synced.argv.index("sync")
    return replace(synced, argv=[*synced.argv[:at], "verify", *synced.argv[at + 1 :], "--re-read"])


def told(out: bytes) -> dict[str, object]:
    """The dataset's object of `cutover sync --json`."""
    found: dict[str, object] = json.loads(out)["datasets"][0]
    return found


# rclone


def rclone(variant: str, *flags: str) -> Contender:
    """`rclone copy` with these flags. `RCLONE_CONFIG_…` carries the remotes: no secret is in an argument."""

    def command(source: Place, target: Place, scratch: Path) -> Command:
        env = {"HOME": str(scratch), "RCLONE_CONFIG": "/dev/null"}
        paths = [_remote(place, name, env) for place, name in ((source, "A"), (target, "B"))]
        return Command([program("rclone"), "copy", *paths, *flags], env, scratch)

    return Contender("rclone", variant, command)


def rclone_proven(variant: str, *flags: str) -> Contender:
    """The same, and then every byte of both sides read again and compared, as who wants a proof of it does."""

    def command(source: Place, target: Place, scratch: Path) -> Command:
        env = {"HOME": str(scratch), "RCLONE_CONFIG": "/dev/null", "RCLONE": program("rclone")}
        paths = [_remote(place, name, env) for place, name in ((source, "A"), (target, "B"))]
        steps = '"$RCLONE" copy "$@" && "$RCLONE" check --download "$@"'
        return Command(["/bin/sh", "-c", steps, "rclone", *paths, *flags], env, scratch)

    return Contender("rclone and check", variant, command)


def rclone_check(source: Place, target: Place, scratch: Path) -> Command:
    """Reads both sides and compares their bytes; ends with 1 where they differ."""
    env = {"HOME": str(scratch), "RCLONE_CONFIG": "/dev/null"}
    paths = [_remote(place, name, env) for place, name in ((source, "A"), (target, "B"))]
    return Command([program("rclone"), "check", "--download", *paths], env, scratch)


def _remote(place: Place, name: str, env: dict[str, str]) -> str:
    """The place as rclone names it; its settings are added to `env`."""
    if isinstance(place, FolderPlace) and place.ssh is None:
        return str(place.path)
    if isinstance(place, S3Place):
        e = place.endpoint
        settings = {
            "TYPE": "s3",
            "PROVIDER": "SeaweedFS" if e.server == "SeaweedFS" else "Other",
            "ENDPOINT": e.url,
            "ACCESS_KEY_ID": e.access_key,
            "SECRET_ACCESS_KEY": e.secret_key,
            "REGION": e.region,
            "NO_CHECK_BUCKET": "true",
        }
        where = place.bucket
    else:
        assert place.ssh is not None
        settings = {
            "TYPE": "sftp",
            "HOST": place.ssh.address,
            "PORT": str(place.ssh.port),
            "USER": place.ssh.user,
            "KEY_FILE": str(place.ssh.folder / "id_ed25519"),
            "KNOWN_HOSTS_FILE": str(place.ssh.known_hosts),
            "CIPHERS": CIPHER,
        }
        where = str(place.path)
    env |= {f"RCLONE_CONFIG_{name}_{key}": value for key, value in settings.items()}
    return f"{name}:{where}"


# s5cmd


def s5cmd(variant: str = "", copy: str = "", workers: int = 32) -> Contender:
    """`s5cmd cp`; between two stores by way of a folder of tmpfs, since one command of it knows one endpoint."""

    def command(source: Place, target: Place, scratch: Path) -> Command:
        env, steps = {"HOME": str(scratch), "S5CMD": program("s5cmd")}, []
        between = scratch / "between"
        for place, name in ((source, "A"), (target, "B")):
            if isinstance(place, S3Place):
                e = place.endpoint
                env |= {f"{name}_KEY": e.access_key, f"{name}_SECRET": e.secret_key, "AWS_REGION": e.region}
                keys = f'AWS_ACCESS_KEY_ID="${name}_KEY" AWS_SECRET_ACCESS_KEY="${name}_SECRET"'
                env[f"{name}_RUN"] = f"--endpoint-url {e.url} --numworkers {workers} --log error"
                head = f'{keys} "$S5CMD" ${name}_RUN cp {copy} '
                other = target if name == "A" else source
                folder = other.path if isinstance(other, FolderPlace) else between
                pair = f"'s3://{place.bucket}/*' '{folder}/'" if name == "A" else f"'{folder}/' 's3://{place.bucket}/'"
                steps.append(head + pair)
        return Command(["/bin/sh", "-c", " && ".join(steps)], env, scratch)

    return Contender("s5cmd", variant, command)


# aioboto3


def aioboto3_loop(at_once: int = 32) -> Contender:
    """A plain loop over aioboto3, as one writes it in an hour (`aioboto3_loop.py` beside this file)."""

    def command(source: Place, target: Place, scratch: Path) -> Command:
        env, argv = {"HOME": str(scratch)}, [sys.executable, str(Path(__file__).with_name("aioboto3_loop.py"))]
        for place, name in ((source, "A"), (target, "B")):
            assert isinstance(place, S3Place)
            e = place.endpoint
            env |= {
                f"{name}_ENDPOINT": e.url,
                f"{name}_KEY": e.access_key,
                f"{name}_SECRET": e.secret_key,
                f"{name}_REGION": e.region,
            }
            argv.append(place.bucket)
        return Command([*argv, str(at_once)], env, scratch)

    return Contender("aioboto3", "", command)
