"""From the plan to SSH."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.errors import UsageError
from backends.plan.models import Plan
from backends.probes.hosts import ssh_hosts, ssh_settings
from backends.ssh.models import SshHost, SshSettings, parse_destination


def plan(**more: object) -> Plan:
    hosts = [{"name": "a", "address": "10.0.0.1", "user": "ops", "port": 2222, "via": "bastion"}]
    return Plan.model_validate(
        {
            "version": 1,
            "name": "move",
            "legacy": {"provider": "x", "hosts": hosts},
            "target": {"provider": "y", "hosts": [{"name": "b", "address": "b.example.net"}]},
            **more,
        }
    )


def test_hosts_come_with_their_side() -> None:
    assert ssh_hosts(plan()) == (
        ("legacy", SshHost("a", "10.0.0.1", "ops", 2222, "bastion")),
        ("target", SshHost("b", "b.example.net")),
    )


def test_without_an_ssh_block_all_is_the_operators_own() -> None:
    assert ssh_settings(plan(), Path("/plans")) == SshSettings(None, None, 10.0)


def test_paths_are_relative_to_the_plan_and_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ops")
    ssh = {"config": "ssh_config", "known_hosts": "~/.ssh/known", "connect_timeout": "3s"}
    settings = ssh_settings(plan(ssh=ssh), Path("/plans"))
    assert settings == SshSettings(Path("/plans/ssh_config"), Path("/home/ops/.ssh/known"), 3.0)


@pytest.mark.parametrize(
    ("text", "address", "user", "port"),
    [
        ("box", "box", None, None),
        ("ops@box", "box", "ops", None),
        ("ops@10.0.0.1:2222", "10.0.0.1", "ops", 2222),
        ("[fe80::1]:22", "fe80::1", None, 22),
        ("fe80::1", "fe80::1", None, None),
        ("ssh://ops@box:22/", "box", "ops", 22),
        ("me@corp@box", "box", "me@corp", None),
    ],
)
def test_a_destination_is_read(text: str, address: str, user: str | None, port: int | None) -> None:
    assert parse_destination("x", text) == SshHost("x", address, user, port)


@pytest.mark.parametrize("text", ["", "ops@", "box:0", "box:x", "box:65536", "-oProxyCommand=x", "a b", "box\x1b[2J"])
def test_what_is_no_destination_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_destination("x", text)
    assert "\x1b" not in caught.value.message
