"""A draft says what was seen and from what, is a plan that `check` reads, and tells no value of anybody's environment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.inventory.around import parse_around, parse_growth
from backends.inventory.containers import parse_running
from backends.inventory.draft import draft
from backends.inventory.hosts import legacy_of_hosts
from backends.inventory.look import HostSeen, parse_work, with_peaks
from backends.live.facts import parse_facts
from backends.plan.load import check_plan, parse_plan
from backends.probes.agent.work import STORE
from backends.snapshot import GpuView, HostView
from backends.ssh.models import SshHost


def process(**changed: object) -> dict[str, object]:
    return {"pid": 7, "user": "ml", "program": "python3", "script": "/srv/train.py", "job": None, "hours": 3.5, "environment": ["HF_HOME"],
            "stores": ["s3://corpus"], "ports": [], "has_environment": True} | changed  # fmt: skip


def host(name: str, *processes: dict[str, object], **facts: object) -> HostSeen:
    gpus = tuple(GpuView(index=i, name="NVIDIA A100-SXM4-40GB") for i in range(2))
    view = HostView(name=name, side="legacy", driver="550.54.14", cuda="12.4", gpus=gpus)
    held: dict[int, list[tuple[int, int | None]]] = {7: [(0, 30 << 30), (1, 31 << 30)]}
    work = parse_work({"processes": list(processes), "mounts": [["/data", "nfs4", 10**13, 4 * 10**12]], "unread": 2}, held)
    around = parse_around(facts.pop("around", {"cloud": {"error": "no metadata service answers"}}))
    running = parse_running(facts.pop("running", {}))
    growth = parse_growth({"paths": {"/data": [120, 7 * 10**9, 7, True]}})
    return HostSeen(
        SshHost(name, "10.0.0.1", "ops", 2222), view, parse_facts(facts), *work, around=around, running=running, growth=growth
    )


def drafted(*seen: HostSeen, provider: str | None = None) -> str:
    return draft(legacy_of_hosts(seen), name="move", provider=provider)


def test_a_draft_is_a_plan_without_errors(tmp_path: Path) -> None:
    torch = [["torch", "2.4.1+cu124", "12.4", "/opt/venv"]]
    text = drafted(host("a-1", process(), packages=torch), host("a-2", process(), packages=torch), provider="gcp")
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    checked = check_plan(path)
    assert [p.message for p in checked.problems if p.severity == "error"] == []
    assert checked.plan is not None
    [work] = checked.plan.workloads
    assert (work.name, work.class_, work.runs_on.legacy) == ("train.py-ml", "training", ("a-1", "a-2"))
    assert work.gpus is not None
    assert (work.gpus.count, work.gpus.memory_gb) == (4, 33.3)
    assert work.framework is not None
    assert (work.framework.name, work.framework.version, work.framework.cuda) == ("pytorch", "2.4.1", "12.4")
    gpus = checked.plan.legacy.hosts[0].gpus
    assert gpus is not None
    assert (gpus.type, gpus.count) == ("A100-SXM4-40GB", 2)
    assert sorted(s.url for s in checked.plan.stores.values()) == ["s3://corpus/", "ssh://a-1/data/", "ssh://a-2/data/"]


def test_every_inferred_field_says_from_what() -> None:
    lines = drafted(host("a-1", process(job="unit train.service"))).splitlines()
    for field in ("class:", "gpus:", "provider:", "name: train", "url:"):
        told = [line for line in lines if field in line and not line.lstrip().startswith("#")]
        assert told
        assert all(any(word in line for word in ("# seen", "# inferred", "# not known")) for line in told), told
    assert any("2 processes belong to others" in line for line in lines)
    assert any("# spot: not known: no metadata service answers" in line for line in lines)
    assert any("growth: at most 1.0 GB a day, by what was written in 120 files in the last 7 days" in line for line in lines)


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"script": "vllm.entrypoints.openai.api_server"}, "realtime"),
        ({"program": "tritonserver", "script": None}, "realtime"),
        ({"program": "torchrun", "script": None}, "training"),
        ({"script": "/x/score.py", "ports": [8000]}, "realtime"),
        ({"script": "/x/score.py"}, "batch"),
        ({"script": "/x/constraint.py"}, "batch"),
    ],
)
def test_a_class_is_inferred_from_the_command_or_said_to_be_unknown(changed: dict[str, object], kind: str) -> None:
    [work] = legacy_of_hosts([host("a-1", process(**changed))]).works
    assert work.kind.value == kind
    assert ("not known" in work.kind.source) is (kind == "batch")


def test_what_surrounds_the_work_is_in_the_draft() -> None:
    around = {
        "cloud": {
            "provider": "gcp",
            "life": "spot",
            "by": "scheduling/preemptible",
            "region": "europe-west4",
            "machine": "a2-highgpu-8g",
        },
        "schedules": [
            {"what": "/srv/train.py", "schedule": "0 2 * * 1-5", "from": "/etc/cron.d/train"},
            {"what": "score.service", "schedule": "OnCalendar=hourly", "from": "score.timer", "gaps": [3600.0, 3600.0]},
        ],
        "names": {"own": ["a-1.corp.example"], "hosts": ["10.0.0.9 db.corp.example db"]},
    }
    text = drafted(host("a-1", process(hashes={"HF_TOKEN": "3f0c"}, environment=["HF_HOME", "HF_TOKEN"]), around=around))
    plan = parse_plan(text, Path("draft.yaml")).plan
    assert plan is not None
    assert (plan.legacy.provider, plan.legacy.region, plan.legacy.hosts[0].spot) == ("gcp", "europe-west4", True)
    assert plan.workloads[0].every == 3 * 86400
    for told in (
        "# seen: the metadata service (scheduling/preemptible)",
        "every: 3d  # seen: 0 2 * * 1-5, 1d to 3d between two (/etc/cron.d/train on a-1)",
        "# scheduled on a-1: score.service, OnCalendar=hourly (each 1h), score.timer; it holds no GPU now",
        "# DNS name: a-1.corp.example (hostname -f)",
        "# /etc/hosts of a-1: 10.0.0.9 db.corp.example db",
        "HF_HOME, HF_TOKEN (hash 3f0c)",
    ):
        assert told in text, told


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_whatever_hosts_say_the_draft_stays_a_plan(program: str, job: str, store: str) -> None:
    text = drafted(host("a-1", process(program=program or "x", job=job or None, stores=[f"s3://{store}"])))
    problems = parse_plan(text, Path("draft.yaml")).problems
    assert [p.message for p in problems if p.severity == "error" and not p.field.startswith("stores")] == []


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("--data s3://corpus/v3 x", ["corpus"]),
        ("A=gs://b\0B=az://acct/c", ["b", "acct"]),
        ("s3://AKIAKEY:SECRET@bucket/x", ["bucket"]),
        ("s3://AKIAKEY:SE/CRET@bucket/x", []),
    ],
)
def test_of_a_url_only_the_place_is_taken(text: str, places: list[str]) -> None:
    assert [place for _, place in STORE.findall(text)] == places


@pytest.mark.parametrize(
    ("told", "memory", "words"),
    [
        (
            {"kept": [True, True], "peaks": [[7, 0, 34 << 30], [7, 1, 33 << 30], [8, 0, 1 << 40]]},
            36.5,
            "by the driver's accounting",
        ),
        ({"kept": [True, True], "peaks": []}, 33.3, "in this one look, no peak"),
        ({"kept": [True, False], "peaks": []}, 33.3, "no peak; `nvidia-smi -am 1` (root) keeps peaks"),
        ({"kept": [None, "x"], "peaks": [["7", 0, 1], [7, -1, 2], 3, [7]]}, 33.3, "in this one look, no peak"),
        ({"peaks": {"7": 1}}, 33.3, "in this one look, no peak"),
    ],
)
def test_memory_is_a_peak_where_the_driver_keeps_accounts(told: dict[str, object], memory: float, words: str) -> None:
    seen = host("a-1", process())
    text = drafted(replace(seen, **with_peaks(seen.processes, told)))
    line = next(line for line in text.splitlines() if "memory_gb" in line)
    assert f"memory_gb: {memory}" in line
    assert words in line
