"""A plan with twenty faults planted in it, of every family of rules, yields these twenty and nothing else, each with its line and its cure."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from backends.plan.problems import Problem
from tests.backends.plan.plans import judged

GOOD = """version: 1
name: chat-2026
legacy:
  provider: gcp
  region: europe-west4
  hosts:
    - {name: old-1, address: 10.0.0.11, user: ops, gpus: {type: A100-SXM4-40GB, count: 8}}
  egress_usd_per_gb: [[10 TB, 0.12], [140 TB, 0.11], [inf, 0.08]]
target:
  provider: aws
  region: eu-west-1
  compliance: [soc2, hipaa]
  hosts:
    - {name: new-1, address: 10.1.0.21, user: ops, spot: false, gpus: {type: H100-SXM5-80GB, count: 8}}
stores:
  corpus-old: {url: "s3://corp-corpus/v3/"}
  corpus-new: {url: "s3://corpus/", endpoint: "https://objects.example.net", access_key: "${env:TARGET_KEY}", secret_key: "${env:TARGET_SECRET}"}
  ckpt-old: {url: "ssh://old-1/mnt/ckpt/"}
  ckpt-new: {url: "ssh://new-1/mnt/ckpt/"}
  keep: {url: "s3://kept-elsewhere/"}
datasets:
  - {name: corpus, from: corpus-old, to: corpus-new, follow: 60s, size: 12 TB}
  - {name: checkpoints, from: ckpt-old, to: ckpt-new, reverse: true, follow: 60s}
transfer: {parallel: 16, bandwidth: 2 Gbps}
workloads:
  - name: chat
    class: realtime
    gpus: {count: 8, memory_gb: 38}
    locality: [EU]
    compliance: [hipaa]
    reaches: ["tcp://db.example.net:5432"]
    load: {legacy: "https://chat.old.example.net/v1", target: "https://chat.new.example.net/v1"}
    runs_on: {legacy: [old-1], target: [new-1]}
    datasets: [corpus]
  - name: pretrain
    class: training
    duration: 2h
    every: 1d
    runs_on: {legacy: [old-1], target: [new-1]}
    datasets: [corpus]
    writes: [checkpoints]
    quiesce: {systemd: pretrain.service}
routes:
  - name: chat
    workload: chat
    command: {set: [set-weight, "{weight}"], get: [get-weight]}
    steps: [5, 25, 50, 100]
    soak: {at_least: 15min, samples: 1000}
    probe: {url: "https://chat.example.net/healthz", legacy: "https://chat.old.example.net/healthz", target: "https://chat.new.example.net/healthz"}
  - name: name
    workload: chat
    rfc2136: {server: 10.0.0.53, zone: example.net, record: chat, tsig: "${env:TSIG}", legacy: old.example.com, target: new.example.com}
    steps: [100]
    probe: {url: "https://chat.example.net/healthz", legacy: "https://chat.old.example.net/healthz", target: "https://chat.new.example.net/healthz"}
  - name: jobs
    workload: pretrain
    slurm: {legacy: old, target: new}
    steps: [100]
    probe: {legacy: "https://jobs.old.example.net/healthz", target: "https://jobs.new.example.net/healthz"}
measures:
  - name: loss
    workload: pretrain
    kind: loss
    legacy: {file: "ssh://old-1/metrics.jsonl", value: loss, by: epoch}
    target: {file: "ssh://new-1/metrics.jsonl", value: loss, by: epoch}
  - name: chat-latency
    workload: chat
    kind: latency
    legacy: {file: "ssh://old-1/requests.jsonl", value: latency_ms}
    target: {file: "ssh://new-1/requests.jsonl", value: latency_ms}
gates:
  staging:
    - {measure: loss, at: [10, 50, 100], within: 0.5%}
    - {dataset: corpus, verified: all}
    - {dataset: checkpoints, verified: all}
triggers:
  - {measure: chat-latency, worse_by: 25%, windows: [2min, 10min]}
  - {measure: loss, worse_by: 1%, action: hold}
windows: {dual: 7d, retire: 30d, no_changes: {from: "Fri 16:00", to: "Mon 08:00", zone: Europe/Berlin}}
backups:
  - {dataset: corpus, kind: command, command: [backup, "{place}"], to: keep}
secrets: [{name: db, from: "${aws-secret:prod/db#password}", to: "${gcp-secret:proj/db}"}]
lease: {host: old-1, duration: 20s}
reconfigure: {files: [{from: config, to: config-target}], rules: [{replace: a, with: b}]}
"""


@dataclass(frozen=True)
class Fault:
    """A text of the plan, what it becomes, and what must be said: severity, code, field, and a word of its cure."""

    old: str
    new: str
    severity: str
    code: str
    field: str
    cure: str
    at: str = ""  # what stands in the line that is told; default: the last line of what was planted


FAULTS = [
    # what it is written in
    Fault("address: 10.0.0.11, user: ops", "address: 10.0.0.11, usr: ops", "error", "unknown_field", "legacy.hosts[0].usr", "did you mean user?"),
    Fault("bandwidth: 2 Gbps", "bandwidth: 2 Gbit", "error", "unit", "transfer.bandwidth", "2 Gbps"),
    # names that lead nowhere
    Fault("from: corpus-old,", "from: corpus-odl,", "error", "unknown_store", "datasets[0].from", "did you mean corpus-old?"),
    Fault("every: 1d\n    runs_on: {legacy: [old-1]", "every: 1d\n    runs_on: {legacy: [odl-1]", "error", "unknown_host", "workloads[1].runs_on.legacy[0]", "did you mean old-1?"),
    # what workloads require of target
    Fault("spot: false", "spot: true", "error", "spot_host", "target.hosts[0].spot", "on-demand"),
    Fault("region: eu-west-1", "region: us-east-1", "error", "locality", "target.region", "another region"),
    Fault("compliance: [soc2, hipaa]", "compliance: [soc2]", "error", "compliance", "workloads[0].compliance[0]", "target.compliance", at="compliance: [hipaa]"),
    Fault("duration: 2h", "duration: 3d", "error", "every", "workloads[1].every", "beginning of one run", at="every: 1d"),
    # secrets
    Fault('"${env:TARGET_KEY}"', "AKIAEXAMPLE", "warning", "literal_credential", "stores.corpus-new.access_key", "${"),
    Fault("to: \"${gcp-secret:proj/db}\"", "to: \"${gcp-secret:proj/db/3}\"", "error", "not_writable", "secrets[0].to", "without its version"),
    # traffic
    Fault("steps: [5, 25, 50, 100]", "steps: [5, 50, 25, 100]", "error", "steps_rise", "routes[0].steps[2]", "[5, 25, 50, 100]"),
    Fault("target: new.example.com}\n    steps: [100]", "target: new.example.com}\n    steps: [30, 100]", "error", "weight_unsayable", "routes[1].steps[0]", "possible here: 100"),
    # writers, what is copied, what is kept
    Fault("reverse: true, ", "", "error", "writes_lost", "workloads[1].writes[0]", "reverse: true", at="writes: [checkpoints]"),
    Fault('command: [backup, "{place}"]', "command: [backup]", "error", "no_place", "backups[0].command", "{place}"),
    # judging, load, ways
    Fault("{measure: chat-latency, worse_by", "{measure: chat-latencies, worse_by", "error", "unknown_measure", "triggers[0].measure", "did you mean chat-latency?"),
    Fault('target: {file: "ssh://new-1/metrics.jsonl", value: loss, by: epoch}', 'target: {file: "ssh://new-1/metrics.jsonl", value: loss, by: step}', "error", "axes_differ", "measures[0].target.by", "by: epoch on both"),
    Fault("tcp://db.example.net:5432", "db.example.net:5432", "error", "reaches_url", "workloads[0].reaches[0]", "tcp://db.example.net:5432"),
    # windows, the lease, configuration
    Fault("dual: 7d", "dual: 5d", "warning", "short_window", "windows.dual", "7d"),
    Fault("lease: {host: old-1,", "lease: {host: old-1, store: keep,", "error", "lease_places", "lease.host", "leave one"),
    Fault("to: config-target}", "to: config}", "error", "over_original", "reconfigure.files[0].to", "to: config-target"),
]  # fmt: skip


def planted(*faults: Fault) -> str:
    text = GOOD
    for fault in faults:
        assert text.count(fault.old) == 1, fault.old
        text = text.replace(fault.old, fault.new)
    return text


def told(problems: tuple[Problem, ...]) -> list[tuple[str, str, str]]:
    return sorted((p.severity, p.code, p.field) for p in problems)


def test_the_plan_without_faults_has_none() -> None:
    assert judged(GOOD).problems == ()


def test_twenty_faults_are_twenty_problems_each_with_its_line_and_its_cure() -> None:
    assert len(FAULTS) == 20
    assert len({fault.code for fault in FAULTS}) == 20
    text = planted(*FAULTS)
    problems = judged(text).problems
    assert told(problems) == sorted((f.severity, f.code, f.field) for f in FAULTS)
    for fault in FAULTS:
        [problem] = [p for p in problems if p.code == fault.code]
        assert problem.where == f"plan.yaml:{problem.line}:{fault.field}"
        assert (fault.at or fault.new.splitlines()[-1]) in text.splitlines()[problem.line - 1], problem
        assert fault.cure, fault.code
        assert fault.cure in problem.hint, problem


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.code for fault in FAULTS])
def test_each_of_them_alone_is_one_problem(fault: Fault) -> None:
    assert told(judged(planted(fault)).problems) == [(fault.severity, fault.code, fault.field)]


def test_cutover_check_tells_all_twenty_at_once(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(planted(*FAULTS))
    argv = [sys.executable, "-c", "from console.main import main; main()", "check", str(path), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    problems = json.loads(done.stdout)["problems"]
    assert sorted(p["code"] for p in problems) == sorted(f.code for f in FAULTS)
    assert all(p["hint"] for p in problems)
