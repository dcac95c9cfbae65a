"""Ways from hosts to what their work needs: what is refused, dropped, unknown or open, told apart from where the host stands."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from backends.live import ports
from backends.live.ports import manager_urls, wanted
from backends.plan.errors import PlanInvalid
from backends.plan.load import check_plan, load_plan
from backends.plan.models import Plan
from tests.backends.live.sides import look, trust
from tests.backends.live.test_judging import seen_host
from tests.peers.netns import namespace
from tests.peers.openssh import openssh
from tests.peers.process import free_ports

PLAN = """version: 1
name: move
legacy: {provider: old}
target: {provider: new, hosts: [HOSTS]}
workloads:
  - {name: train, class: training, runs_on: {target: [NAMES]}, reaches: [REACHES]}
"""


def plan_of(path: Path, hosts: dict[str, str], reaches: list[str], more: str = "") -> Plan:
    text = PLAN.replace("HOSTS", ", ".join(f"{{name: {name}, {rest}}}" for name, rest in hosts.items()))
    path.write_text(text.replace("NAMES", ", ".join(hosts)).replace("REACHES", ", ".join(f"'{url}'" for url in reaches)) + more)
    checked = load_plan(path)
    assert checked.plan is not None
    return checked.plan


async def test_dropped_refused_and_open_ways_are_told_apart_from_the_hosts_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hosts in networks of their own: this machine does not forward between them, so what one sends the other is dropped."""
    monkeypatch.setattr(ports, "TIMEOUT", 2.0)
    served: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append("a connection")
        writer.close()

    async with contextlib.AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(namespace()) for _ in range(2)]
        await one.route_by_us()
        await two.route_by_us()
        first = await stack.enter_async_context(openssh(tmp_path / "one", within=one.within, address=one.address))
        second = await stack.enter_async_context(openssh(tmp_path / "two", within=two.within, address=two.address))
        server = await asyncio.start_server(serve, one.ours, 0)
        await stack.enter_async_context(server)
        (closed,) = free_ports(1)
        reaches = [
            f"tcp://{one.ours}:{server.sockets[0].getsockname()[1]}",
            f"tcp://{one.ours}:{closed}",
            f"tcp://two:{second.port}",
        ]
        hosts = {
            "one": f"address: {first.address}, port: {first.port}, user: {first.user}",
            "two": f"address: {second.address}, port: {second.port}, user: {second.user}",
        }
        path = tmp_path / "plan.yaml"
        plan_of(path, hosts, reaches, trust(tmp_path, first, second))
        looked = await look(path)
    assert served
    found = [p for p in looked.problems if p.problem.code.startswith("port")]
    assert [(p.problem.severity, p.problem.code, p.hosts) for p in found] == [
        ("error", "port_dropped", ("one",)),
        ("warning", "port_dropped", ("two",)),  # its peer
        ("error", "port_refused", ("one", "two")),
    ]
    assert found[0].evidence == f"tcp://{second.address}:{second.port}: no answer within 2 s"
    assert found[1].message.endswith("other hosts of train, which spans them: nothing comes back")


def test_a_host_of_the_plan_is_reached_at_its_address_and_peers_go_round(tmp_path: Path) -> None:
    hosts = {f"h{i:02}": f"address: 10.0.0.{i}" for i in range(20)}
    hosts["v6"] = "address: 'fd00::7', port: 2222"
    plan = plan_of(tmp_path / "plan.yaml", hosts, ["tcp://h03:5432", "https://hub.example.net/health", "grpc://v6:50051"])
    urls = [way.url for way in wanted(plan, seen_host("target", "h18"))]
    assert urls == [
        "tcp://10.0.0.3:5432",
        "https://hub.example.net/health",
        "grpc://[fd00::7]:50051",
        "tcp://10.0.0.19:22",
        "tcp://[fd00::7]:2222",
        *[f"tcp://10.0.0.{i}:22" for i in range(6)],
    ]
    assert wanted(plan, seen_host("legacy", "h18")) == []


def test_hosts_of_target_come_to_the_managers_that_keep_its_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_ENDPOINT_URL_SECRETS_MANAGER",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    texts = (
        "${aws-secret:arn:aws:secretsmanager:eu-west-1:1:secret:db}",
        "${aws-secret:db}",
        "${gcp-secret:proj/db}",
        "${azure-keyvault:corp/db}",
        "${file:db}",
    )
    secrets = ", ".join(f"{{name: s{i}, from: '${{env:X}}', to: '{text}'}}" for i, text in enumerate(texts))
    plan = plan_of(tmp_path / "plan.yaml", {"h": "address: 10.0.0.1"}, [], f"secrets: [{secrets}]\n")
    assert [(way.url, way.what) for way in wanted(plan, seen_host("target", "h"))] == [
        ("https://secretsmanager.eu-west-1.amazonaws.com/", "the manager of the secret s0"),
        ("https://secretmanager.googleapis.com/", "the manager of the secret s2"),
        ("https://corp.vault.azure.net/", "the manager of the secret s3"),
    ]
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert manager_urls(texts[1], None) == ["https://secretsmanager.us-west-2.amazonaws.com/"]


@pytest.mark.parametrize(
    "url", ["db.example.net:5432", "tcp://db", "ftp://db:21", "tcp://user:word@db:1", "grpc://:1", "tcp://db:70000"]
)
def test_what_cannot_be_reached_by_its_form_is_an_error_of_the_plan(tmp_path: Path, url: str) -> None:
    with pytest.raises(PlanInvalid):
        plan_of(tmp_path / "plan.yaml", {"h": "address: 10.0.0.1"}, [url])
    [error] = [p for p in check_plan(tmp_path / "plan.yaml").problems if p.severity == "error"]
    assert (error.code, error.field) == ("reaches_url", "workloads[0].reaches[0]")
    assert "word" not in error.message
