"""What surrounds the work of a host is told by the host itself: by its cloud's metadata service, its schedulers, its files and certificates."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.inventory.around import Growth, parse_around, parse_growth
from backends.probes.agent import growth
from backends.probes.agent.around import cron_lines
from backends.probes.agent_link import BOOT, program
from tests.peers.certificate import make_certificate
from tests.peers.scripted_http import Asked, answer, scripted_http
from tests.peers.systemd import user_systemd

NOBODY = {"AWS_EC2_METADATA_DISABLED": "true"}


async def told(env: dict[str, str], **asked: Any) -> Any:
    """What the program prints, run as a host runs it."""
    child = await asyncio.create_subprocess_exec(
        *("python3", "-BISuc", BOOT, json.dumps({"tls_ports": []} | asked)),
        env=os.environ | env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(program("host", "around")), 30)
    assert child.returncode == 0, err.decode()
    return json.loads(out)


def google(life: str) -> Callable[[Asked], bytes]:
    def script(asked: Asked) -> bytes:
        told = {
            "preemptible": life,
            "zone": "projects/1/zones/europe-west4-a",
            "machine-type": "projects/1/machineTypes/a2-highgpu-8g",
        }
        if asked.headers.get("metadata-flavor") != "Google":
            return answer(403)
        return answer(200, told[asked.target.rpartition("/")[2]], metadata_flavor="Google")

    return script


def azure(life: str) -> Callable[[Asked], bytes]:
    def script(asked: Asked) -> bytes:
        is_right = asked.headers.get("metadata") == "true" and asked.target.startswith("/metadata/instance/compute?")
        return (
            answer(200, json.dumps({"priority": life, "location": "westeurope", "vmSize": "Standard_ND96"}))
            if is_right
            else answer(400)
        )

    return script


def amazon(life: str) -> Callable[[Asked], bytes]:
    def script(asked: Asked) -> bytes:
        told = {"instance-life-cycle": life, "instance-type": "p4d.24xlarge", "region": "eu-west-1"}
        if asked.method == "PUT":
            return answer(200, "a-token")
        name = asked.target.rpartition("/")[2]
        if asked.headers.get("x-aws-ec2-metadata-token") != "a-token" or name not in told:
            return answer(401 if name in told else 404)
        return answer(200, told[name])

    return script


@pytest.mark.parametrize(
    ("script", "provider", "region", "is_spot"),
    [
        (google("TRUE"), "gcp", "europe-west4", True),
        (google("FALSE"), "gcp", "europe-west4", False),
        (google("what"), "gcp", "europe-west4", None),
        (azure("Spot"), "azure", "westeurope", True),
        (azure("Regular"), "azure", "westeurope", False),
        (azure(""), "azure", "westeurope", None),
        (amazon("spot"), "aws", "eu-west-1", True),
        (amazon("on-demand"), "aws", "eu-west-1", False),
        (lambda _: answer(200, "<html>a portal</html>"), "", "", None),
        (lambda _: answer(404), "", "", None),
    ],
)
async def test_a_spot_host_is_known_by_its_clouds_own_word(
    script: Callable[[Asked], bytes], provider: str, region: str, is_spot: bool | None
) -> None:
    async with scripted_http(script) as server:
        cloud = parse_around(await told({"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.endpoint})).cloud
    assert (cloud.provider, cloud.region, cloud.is_spot) == (provider, region, is_spot)
    assert bool(cloud.error) is not bool(provider)


async def test_where_no_metadata_service_answers_it_is_not_known_and_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        cloud = parse_around(await told({"GCE_METADATA_HOST": f"127.0.0.1:{silent.getsockname()[1]}"})).cloud
    assert (cloud.is_spot, cloud.error) == (None, "no metadata service answers: timed out")
    assert "forbids" in parse_around(await told(NOBODY)).cloud.error


async def test_timers_of_systemd_tell_how_often_their_unit_runs(tmp_path: Path) -> None:
    async with user_systemd(tmp_path) as manager:
        manager.add("score.service", "[Service]\nExecStart=/bin/true\n")
        manager.add("score.timer", "[Timer]\nOnCalendar=Mon..Fri 02:00\n[Install]\nWantedBy=timers.target\n")
        manager.add("tidy.service", "[Service]\nExecStart=/bin/true\n")
        manager.add("tidy.timer", "[Timer]\nOnActiveSec=1h\nOnUnitActiveSec=90min\n")
        for name in ("score.timer", "tidy.timer"):
            assert (await manager.ctl("start", name))[0] == 0
        found = {one.what: one for one in parse_around(await told(manager.env | NOBODY)).schedules}
    score, tidy = found["score.service"].rhythm, found["tidy.service"].rhythm
    assert score is not None
    assert tidy is not None
    assert (score.least, score.most) == (86400, 3 * 86400)
    assert (tidy.least, tidy.most) == (5400, 5400)


CRONTAB = """\
# /srv/old.py is in a comment
SHELL=/bin/sh
17 * * * * root cd / && run-parts --report /etc/cron.hourly
0 2 * * 1-5 ml TOKEN=hunter2 /usr/bin/python3 /srv/score.py --key hunter2 > /dev/null 2>&1
@daily ml cd /srv && ./nightly.sh
*/10 * * * * ml curl -H 'Authorization: hunter2' https://example.net
"""


def test_of_cron_only_the_schedule_and_the_script_leave_the_host() -> None:
    found = cron_lines(CRONTAB, "/etc/cron.d/ml", True)
    assert [(one["what"], one["schedule"]) for one in found] == [
        ("/srv/score.py", "0 2 * * 1-5"),
        ("./nightly.sh", "@daily"),
        ("curl", "*/10 * * * *"),
    ]
    assert "hunter2" not in json.dumps(found)


async def test_names_in_a_certificate_are_read_where_https_listens(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.server)

    async def nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(nothing, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        around = parse_around(await told(NOBODY, tls_ports=[port, 1]))
    assert around.certificates == ((port, ("127.0.0.1",)),)
    assert around.own_names


def test_growth_is_what_was_written_lately_and_a_part_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name, age in (("a/new", 1), ("a/b/new", 2), ("a/old", 30)):
        path = tmp_path / name
        path.write_bytes(b"x" * 7000)
        then = time.time() - age * 86400
        os.utime(path, (then, then))
    (tmp_path / "a" / "link").symlink_to("/")
    asked = {"paths": [str(tmp_path), "/no/such/folder"]}
    found = parse_growth(growth.look(asked))
    assert found == {str(tmp_path): Growth(3, 14000, 7, True), "/no/such/folder": Growth(0, 0, 7, False)}
    monkeypatch.setattr(growth, "FILES", 1)
    assert parse_growth(growth.look(asked))[str(tmp_path)].is_all is False


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["cloud", "schedules", "names", "certificates", "own", "what", "gaps", "paths"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(JSON)
def test_no_answer_ends_in_an_exception(value: Any) -> None:
    parse_around(value)
    parse_growth(value)
