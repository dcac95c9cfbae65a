"""Where everything of a sandbox lies: its folder, its four hosts, their keys, and ports that the kernel gave.

DIR/sandbox.json      whose folder this is: version, seed, and the ports to take again after a restart
DIR/plan.yaml         the plan; ssh_config, known_hosts, id_ed25519 beside it
DIR/hosts/HOST/       the root of that host's SFTP
DIR/s3/               the objects of both stores
DIR/front-door.json   the weight of the front door; queue.json that of the submission queue; training.json who writes
DIR/scenario.jsonl    what the scenario played, and when
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from backends.escape import plain
from backends.sandbox.errors import FolderNotOurs, SandboxError
from backends.vocabulary import SideName

MARKER = "sandbox.json"
USER = "ops"
# What may lie in the folder before a sandbox has ever used it.
_TOLERATED = {"state", "sandbox.log", "sandbox.lock"}
_SOCKETS = (
    *("leg-a1", "leg-a2", "tgt-b1", "tgt-b2"),  # SSH
    *("s3-old", "s3-new", "s3-wire"),
    *("chat-legacy", "chat-target", "jobs-legacy", "jobs-target", "front", "admin"),  # HTTP
)


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One SSH host: its side, what runs on it, its GPUs as `nvidia-smi` names them."""

    name: str
    side: SideName
    role: str  # chat | training
    gpu_type: str  # as the plan names it
    gpu_name: str  # as nvidia-smi names it
    gpus: int = 4


HOSTS = (
    HostSpec("leg-a1", "legacy", "chat", "A100-SXM4-40GB", "NVIDIA A100-SXM4-40GB"),
    HostSpec("leg-a2", "legacy", "training", "A100-SXM4-40GB", "NVIDIA A100-SXM4-40GB"),
    HostSpec("tgt-b1", "target", "chat", "H100-SXM5-80GB", "NVIDIA H100 80GB HBM3"),
    HostSpec("tgt-b2", "target", "training", "H100-SXM5-80GB", "NVIDIA H100 80GB HBM3"),
)


def host_of(side: SideName, role: str) -> str:
    """The name of the host on which `role` (chat, training) of a side runs."""
    return next(h.name for h in HOSTS if h.side == side and h.role == role)


@dataclass(slots=True)
class Layout:
    """The folder, claimed: its listening sockets, already bound on 127.0.0.1, and the keys."""

    root: Path
    seed: int
    sockets: dict[str, socket.socket]
    ports: dict[str, int]
    lock: int
    host_keys: dict[str, asyncssh.SSHKey] = field(default_factory=dict)
    client_key: asyncssh.SSHKey | None = None

    def port(self, name: str) -> int:
        return self.ports[name]

    def url(self, name: str) -> str:
        """The HTTP address of one of the sandbox's sockets, without a closing slash."""
        return f"http://127.0.0.1:{self.port(name)}"

    def host_root(self, host: str) -> Path:
        return self.root / "hosts" / host

    def path(self, name: str) -> Path:
        return self.root / name

    def close(self) -> None:
        """Let go of the folder and of every socket that no server has closed yet."""
        for sock in self.sockets.values():
            sock.close()
        os.close(self.lock)


def claim(root: Path, seed: int) -> Layout:
    """Take the folder: refuse a foreign one, make what lacks, bind every socket. Blocking: run it in a thread."""
    root = root.expanduser().absolute()
    _refuse_foreign(root)
    root.mkdir(parents=True, exist_ok=True)
    root = root.resolve()
    lock = _lock(root)
    try:
        known = _marker(root, seed)
        sockets = _bind(known.get("ports", {}))
        ports = {name: int(sock.getsockname()[1]) for name, sock in sockets.items()}
        layout = Layout(root=root, seed=seed, sockets=sockets, ports=ports, lock=lock)
        _write_keys(layout)
        write_json(root / MARKER, {"version": 1, "seed": seed, "ports": ports})
    except BaseException:
        os.close(lock)
        raise
    return layout


def write_json(path: Path, value: object) -> None:
    """Replace a small file as a whole, so that a reader sees the old or the new."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    temporary.write_text(json.dumps(value) + "\n")
    os.replace(temporary, path)


def _refuse_foreign(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise FolderNotOurs(f"{plain(str(root))} is not a folder", hint="give --dir a folder of its own")
    if not root.exists() or (root / MARKER).is_file():
        return
    foreign = sorted(p.name for p in root.iterdir() if p.name not in _TOLERATED)
    if foreign:
        raise FolderNotOurs(
            f"{plain(str(root))} is not empty and no sandbox's folder: it holds {plain(foreign[0])}",
            hint="give --dir a new or empty folder",
        )


def _lock(root: Path) -> int:
    descriptor = os.open(root / "sandbox.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise SandboxError(
            f"a sandbox is already running in {plain(str(root))}", hint="end it, or give --dir another folder"
        ) from error
    return descriptor


def _marker(root: Path, seed: int) -> dict[str, dict[str, int]]:
    try:
        known = json.loads((root / MARKER).read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise FolderNotOurs(f"{plain(str(root / MARKER))} is no marker of a sandbox") from error
    if not isinstance(known, dict) or known.get("seed") != seed:
        raise FolderNotOurs(
            f"{plain(str(root))} holds the sandbox of another seed", hint=f"give --dir another folder for seed {seed}"
        )
    ports = known.get("ports")
    return {"ports": ports if isinstance(ports, dict) else {}}


def _bind(known: dict[str, int]) -> dict[str, socket.socket]:
    return {name: _bind_one(known.get(name)) for name in _SOCKETS}


def _bind_one(port: int | None) -> socket.socket:
    """A socket on 127.0.0.1: on the port it had before where that is free, else on one from the kernel."""
    for candidate in (port, 0):
        if not isinstance(candidate, int):
            continue
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", candidate))
        except OSError:
            sock.close()
            continue
        sock.listen(128)  # at once: a bound port that nobody listens on may be given away again
        sock.setblocking(False)
        return sock
    raise SandboxError("no port is left on 127.0.0.1")


def _write_keys(layout: Layout) -> None:
    keys = layout.root / "keys"
    keys.mkdir(mode=0o700, exist_ok=True)
    for name in ("s3-access", "s3-secret"):
        (keys / name).touch(0o600)
        (keys / name).write_text("sandbox\n")
    layout.client_key = _key(layout.root / "id_ed25519", "cutover sandbox")
    known = []
    for spec in HOSTS:
        (layout.host_root(spec.name)).mkdir(parents=True, exist_ok=True)
        key = _key(keys / spec.name, spec.name)
        layout.host_keys[spec.name] = key
        port = layout.port(spec.name)
        public = key.export_public_key().decode().strip()
        known.append(f"[127.0.0.1]:{port},[{spec.name}]:{port} {public}\n")
    (layout.root / "known_hosts").write_text("".join(known))
    (layout.root / "ssh_config").write_text(ssh_config(layout))


def _key(path: Path, comment: str) -> asyncssh.SSHKey:
    if path.is_file():
        return asyncssh.read_private_key(path)
    key = asyncssh.generate_private_key("ssh-ed25519", comment=comment)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.export_private_key())
    key.write_public_key(path.with_name(path.name + ".pub"))
    return key


def ssh_config(layout: Layout) -> str:
    """An ssh_config with which OpenSSH's own client reaches the four hosts as well."""
    blocks = [f"Host {h.name}\n    HostName 127.0.0.1\n    Port {layout.port(h.name)}\n" for h in HOSTS]
    blocks.append(
        f'Host *\n    User {USER}\n    IdentityFile "{layout.root / "id_ed25519"}"\n    IdentitiesOnly yes\n'
        f'    UserKnownHostsFile "{layout.root / "known_hosts"}"\n'
    )
    return "".join(blocks)
