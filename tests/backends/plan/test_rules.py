from __future__ import annotations

import pytest

from backends.plan.problems import Problem
from tests.backends.plan.plans import FULL, changed, documented_plan, errors, judged, the

LOSS_FILES = (
    'legacy: {file: "ssh://gcp-a1/var/log/pretrain/metrics.jsonl", value: loss, by: epoch}\n'
    '    target: {file: "ssh://lam-b1/var/log/pretrain/metrics.jsonl", value: loss, by: epoch}'
)
MLFLOW = 'legacy: {mlflow: "http://m:5000", run: a, value: x, by: step}\n'
STEPS_OF_JOBS = "steps: [100]\n\nmeasures"


def found(text: str) -> dict[str, Problem]:
    """What is told beyond what the documented plan has anyway, by code."""
    return {p.code: p for p in judged(text).problems if p.code != "no_probe"}


# One text of the documented plan, what it becomes, and the one problem that this makes: severity, code, field.
CASES = [
    # names
    ("runs_on: {legacy: [gcp-a1], target: [lam-b1]}\n    datasets: [corpus]", "runs_on: {legacy: [gcp-a2], target: [lam-b1]}\n    datasets: [corpus]", "error", "unknown_host", "workloads[0].runs_on.legacy[0]"),
    ("runs_on: {legacy: [gcp-a1], target: [lam-b1]}\n    datasets: [corpus]", "runs_on: {legacy: [lam-b1], target: [lam-b1]}\n    datasets: [corpus]", "error", "host_of_other_side", "workloads[0].runs_on.legacy[0]"),
    ("- {name: lam-b1, address", "- {name: gcp-a1, address: 10.9.9.9}\n    - {name: lam-b1, address", "error", "duplicate_name", "target.hosts[0].name"),
    ("user: ops,", "user: ops, via: bastion,", "note", "ssh_alias", "legacy.hosts[0].via"),
    ("user: ops,", "user: ops, via: lam-b2,", "note", "ssh_alias", "legacy.hosts[0].via"),
    ("user: ops,", "user: ops, via: gcp-a1,", "error", "via_itself", "legacy.hosts[0].via"),
    ("command: {set: [set-weight, chat, \"{weight}\"], get: [get-weight, chat]}", "haproxy: {socket: admin.sock, backend: chat, legacy: a, target: b, state_file: /s}", "error", "haproxy_socket", "routes[0].haproxy.socket"),
    ("command: {set: [set-weight, chat, \"{weight}\"], get: [get-weight, chat]}", "haproxy: {socket: /s, backend: \"chat; x\", legacy: a, target: b, state_file: /s}", "error", "haproxy_name", "routes[0].haproxy.backend"),
    ("command: {set: [set-weight, chat, \"{weight}\"], get: [get-weight, chat]}", "haproxy: {socket: /s, backend: chat, legacy: [a, b], target: b, state_file: /s}", "error", "haproxy_both", "routes[0].haproxy.target"),
    ("command: {set: [set-weight, chat, \"{weight}\"], get: [get-weight, chat]}", "haproxy: {socket: /s, backend: chat, legacy: a, target: b, state_file: state}", "error", "haproxy_state_file", "routes[0].haproxy.state_file"),
    ("command: {set: [set-weight, chat, \"{weight}\"], get: [get-weight, chat]}", "haproxy: {socket: /s, backend: chat, legacy: a, target: b}", "note", "haproxy_reload", "routes[0].haproxy.state_file"),
    ("command: {set: [set-weight, chat, \"{weight}\"], get: [get-weight, chat]}", "slurm: {legacy: old, target: new}", "error", "queue_steps", "routes[0].steps"),
    ("command: {set: [set-weight, chat, \"{weight}\"], get: [get-weight, chat]}", "gateway: {name: chat, legacy: old, target: old}", "error", "same_backend", "routes[0].gateway.target"),
    ("class: realtime\n", "class: realtime\n    load: {legacy: old/v1, target: \"http://b/\"}\n", "error", "load_url", "workloads[0].load.legacy"),
    ("class: realtime\n", "class: realtime\n    load: {legacy: \"http://a/\", target: \"http://a/\"}\n", "warning", "load_same", "workloads[0].load.target"),
    ("class: realtime\n", "class: realtime\n    load: {legacy: \"http://a/\", target: \"http://b/\", body: x}\n", "error", "load_body", "workloads[0].load.body"),
    ("user: ops,", "user: ops, dcgm: gcp-a1:9400,", "error", "dcgm_url", "legacy.hosts[0].dcgm"),
    ("address: 10.0.0.11", "address: local", "error", "local_host", "legacy.hosts[0].address"),
    ("from: corpus-old,", "from: corpus-odl,", "error", "unknown_store", "datasets[0].from"),
    ("datasets: [corpus]\n", "datasets: [corpsu]\n", "error", "unknown_dataset", "workloads[0].datasets[0]"),
    ("- name: jobs\n    workload: pretrain", "- name: jobs\n    workload: pertrain", "error", "unknown_workload", "routes[1].workload"),
    ("- name: jobs\n", "- name: chat\n", "error", "duplicate_name", "routes[1].name"),
    ("{measure: loss, at", "{measure: los, at", "error", "unknown_measure", "gates.staging[0].measure"),
    ("{dataset: corpus, verified", "{dataset: corpse, verified", "error", "unknown_dataset", "gates.staging[2].dataset"),
    ("{measure: loss, worse_by", "{measure: lose, worse_by", "error", "unknown_measure", "triggers[1].measure"),
    ("ssh://lam-b1/mnt/ckpt/", "ssh://lam-b3/mnt/ckpt/", "note", "ssh_alias", "stores.ckpt-new.url"),
    ("quiesce: {command: [trainctl, stop], resume: [trainctl, start], status: [trainctl, status], on: hosts}", "quiesce: {kubernetes: ml/deployment/train}", "error", "no_replicas", "workloads[1].quiesce.kubernetes"),
    # what workloads require of target
    ("class: realtime\n", "class: realtime\n    locality: [EU]\n", "error", "locality", "target.region"),
    ("class: realtime\n", "class: realtime\n    locality: [EU, Texas]\n", "error", "locality_name", "workloads[0].locality[1]"),
    ("class: realtime\n", "class: realtime\n    compliance: [hipaa]\n", "note", "compliance_unknown", "workloads[0].compliance[0]"),
    ("class: realtime\n", "class: realtime\n    every: 14d\n    duration: 2h\n", "warning", "every_dual", "workloads[0].every"),
    ("class: realtime\n", "class: realtime\n    every: 1h\n    duration: 2h\n", "error", "every", "workloads[0].every"),
    ("user: ubuntu,", "user: ubuntu, spot: true,", "error", "spot_host", "target.hosts[0].spot"),
    ("user: ubuntu,", "user: ubuntu, country: Germany,", "error", "country", "target.hosts[0].country"),
    # stores
    ("s3://corp-corpus/v3/", "s4://corp-corpus/v3/", "error", "store_url", "stores.corpus-old.url"),
    ("s3://corp-corpus/v3/", "s3:///v3/", "error", "store_url", "stores.corpus-old.url"),
    ("s3://corp-corpus/v3/", "s3://corp-corpus/v3/?x=1", "error", "store_url", "stores.corpus-old.url"),
    ("ssh://gcp-a1/mnt/ckpt/", "ssh://gcp-a1", "error", "store_url", "stores.ckpt-old.url"),
    ("https://objects.example.net", "http://objects.example.net", "warning", "plain_http", "stores.corpus-new.endpoint"),
    ("https://objects.example.net", "objects.example.net", "error", "endpoint", "stores.corpus-new.endpoint"),
    ("from: ckpt-old, to: ckpt-new", "from: ckpt-old, to: ckpt-old", "error", "copied_onto_itself", "datasets[1].to"),
    ("ssh://lam-b1/mnt/ckpt/", "ssh://gcp-a1/mnt/ckpt/new/", "error", "copied_onto_itself", "datasets[1].to"),
    # the lease
    ("windows: {", "lease: {store: corpus-old, host: gcp-a1}\nwindows: {", "error", "lease_places", "lease.host"),
    ("windows: {", "lease: {store: ckpt-old}\nwindows: {", "error", "lease_store", "lease.store"),
    ("windows: {", "lease: {store: corpus-odl}\nwindows: {", "error", "unknown_store", "lease.store"),
    ("windows: {", "lease: {host: gcp-a9}\nwindows: {", "error", "unknown_host", "lease.host"),
    ("windows: {", "lease: {duration: 5min}\nwindows: {", "error", "lease_duration", "lease.duration"),
    ("windows: {", "lease: nobody\nwindows: {", "error", "value", "lease"),
    # secrets
    ('"${env:TARGET_KEY}"', "AKIAEXAMPLE", "warning", "literal_credential", "stores.corpus-new.access_key"),
    ("${env:TARGET_KEY}", "${evn:TARGET_KEY}", "error", "reference", "stores.corpus-new.access_key"),
    ("${env:TARGET_KEY}", "${env:TARGET_KEY", "error", "reference", "stores.corpus-new.access_key"),
    ("${env:TARGET_KEY}", "${azure-keyvault:evil.example.net/key}", "error", "reference", "stores.corpus-new.access_key"),
    ("provider: gcp", "provider: AKIAABCDEFGHIJKLMNOP", "warning", "literal_credential", "legacy.provider"),
    ("stores:\n", "secrets: [{name: db, from: hunter2, to: \"${file:k}\"}]\nstores:\n", "error", "not_a_reference", "secrets[0].from"),
    ("stores:\n", "secrets: [{name: db, from: \"${file:k}\", to: \"${env:K}\"}]\nstores:\n", "error", "not_writable", "secrets[0].to"),
    ("stores:\n", "secrets: [{name: db, from: \"${file:k}\", to: \"${gcp-secret:proj/s/3}\"}]\nstores:\n", "error", "not_writable", "secrets[0].to"),
    ("stores:\n", "secrets: [{name: db, from: \"${file:k}\", to: \"${file:k}\"}]\nstores:\n", "error", "same_secret", "secrets[0].to"),
    ("https://objects.example.net", "${env:ENDPOINT}", "error", "reference_not_here", "stores.corpus-new.endpoint"),
    # routes
    ("steps: [5, 25, 50, 100]", "steps: [5, 50, 25, 100]", "error", "steps_rise", "routes[0].steps[2]"),
    ("steps: [5, 25, 50, 100]", "steps: [0, 25, 50, 100]", "error", "steps_rise", "routes[0].steps[0]"),
    ("steps: [5, 25, 50, 100]", "steps: [5, 25, 50]", "error", "steps_end", "routes[0].steps"),
    ("steps: [5, 25, 50, 100]", "steps: []", "error", "value", "routes[0].steps"),
    ('[set-weight, chat, "{weight}"]', "[set-weight, chat, weight]", "error", "no_weight", "routes[0].command.set"),
    ('    command: {set: [set-weight, chat, "{weight}"], get: [get-weight, chat]}\n', "", "error", "one_kind", "routes[0]"),
    ("steps: [5, 25, 50, 100]", 'sandbox: {admin: "http://127.0.0.1:1"}', "error", "one_kind", "routes[0]"),
    ("https://chat.old.example.net/healthz", "chat.old.example.net", "error", "probe_url", "routes[0].probe.legacy"),
    # writers
    (STEPS_OF_JOBS, "steps: [50, 100]\n\nmeasures", "error", "writer_partial_steps", "routes[1].steps"),
    ("reverse: true, ", "", "error", "writes_lost", "workloads[1].writes[0]"),
    ("resume: [trainctl, start], ", "", "error", "writer_not_resumable", "workloads[1].quiesce"),
    ("    quiesce: {command: [trainctl, stop], resume: [trainctl, start], status: [trainctl, status], on: hosts}\n", "", "error", "writer_not_stoppable", "workloads[1]"),
    ("quiesce: {command: [trainctl, stop], resume", "quiesce: {resume", "error", "one_kind", "workloads[1].quiesce"),
    ("    datasets: [corpus]\n", "    datasets: [corpus]\n    quiesce: {command: [a], status: [b], on: host}\n", "error", "value", "workloads[0].quiesce.on"),
    # judging
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: step}", "error", "axes_differ", "measures[0].target.by"),
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", by: epoch}", "error", "missing_field", "measures[0].target"),
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {by: epoch}", "error", "one_kind", "measures[0].target"),
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {prometheus: \"ftp://p\", query: x}", "error", "source", "measures[0].target.prometheus"),
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {prometheus: \"http://p:9090\"}", "error", "missing_field", "measures[0].target"),
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {prometheus: \"http://p:9090\", query: x, by: step}", "error", "not_used", "measures[0].target.by"),
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {prometheus: \"http://p:9090\", query: x, total: y}", "error", "not_used", "measures[0].target.total"),
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {prometheus: \"http://p:9090\", query: x, token: '${env:T}'}", "warning", "plain_http", "measures[0].target.prometheus"),
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {prometheus: \"https://p:9090\", query: x, token: abc}", "warning", "literal_credential", "measures[0].target.token"),
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {file: a, value: x, by: epoch, unit: s}", "error", "not_used", "measures[0].target.unit"),
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {file: a, value: x, by: epoch, total: n}", "error", "not_used", "measures[0].target.total"),
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {file: a, value: x, by: epoch, unit: share}", "error", "not_used", "measures[0].target.unit"),
    ("chat/requests.jsonl\", value: error}\n    target: {file: \"ssh://lam-b1/var/log/chat/requests.jsonl\", value: error}", "chat/requests.jsonl\", value: errors, total: n, by: step}\n    target: {file: \"ssh://lam-b1/var/log/chat/requests.jsonl\", value: errors, total: n, by: step}", "error", "not_used", "measures[2].target.by"),
    ("chat/requests.jsonl\", value: error}\n    target", "chat/requests.jsonl\", value: error_rate}\n    target", "note", "share", "measures[2].legacy.value"),
    (LOSS_FILES, MLFLOW + "    target: {mlflow: \"http://m:5000\", value: x, by: step}", "error", "missing_field", "measures[0].target"),
    (LOSS_FILES, MLFLOW + "    target: {mlflow: \"http://m:5000\", run: a, by: step}", "error", "missing_field", "measures[0].target"),
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {mlflow: \"http://m:5000\", run: a, value: x, by: epoch}", "error", "not_used", "measures[0].target.by"),
    (LOSS_FILES, MLFLOW + "    target: {mlflow: \"http://m:5000\", run: a, value: x, by: step, query: y}", "error", "not_used", "measures[0].target.query"),
    (LOSS_FILES, MLFLOW + "    target: {mlflow: m, run: a, value: x, by: step}", "error", "source", "measures[0].target.mlflow"),
    (LOSS_FILES, MLFLOW + "    target: {mlflow: \"http://m:5000\", prometheus: \"http://p:9090\", run: a, value: x, query: y, by: step}", "error", "one_kind", "measures[0].target"),
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {file: a, run: a, value: x, by: epoch}", "error", "not_used", "measures[0].target.run"),
    ("target: {file: \"ssh://lam-b1/var/log/pretrain/metrics.jsonl\", value: loss, by: epoch}", "target: {mlflow: \"http://m:5000\", run: a, value: x, by: step}", "error", "axes_differ", "measures[0].target.by"),
    (LOSS_FILES, MLFLOW + "    target: {mlflow: \"http://m:5000\", run: a, value: x, by: step, token: '${env:T}'}", "warning", "plain_http", "measures[0].target.mlflow"),
    ("metrics.jsonl\", value: loss, by: epoch}\n    target", "metrics.jsonl\", value: loss, by: epoch, pattern: '('}\n    target", "error", "pattern", "measures[0].legacy.pattern"),
    ("metrics.jsonl\", value: loss, by: epoch}\n    target", "metrics.jsonl\", value: loss, by: epoch, pattern: '(?P<epoch>.)'}\n    target", "error", "pattern", "measures[0].legacy.pattern"),
    ("ssh://lam-b1/var/log/pretrain/metrics.jsonl", "ftp://lam-b1/var/log/pretrain/metrics.jsonl", "error", "source", "measures[0].target.file"),
    ("{dataset: corpus, verified: all}", "{dataset: corpus}", "error", "missing_field", "gates.staging[2]"),
    ("{dataset: corpus, verified: all}", "{dataset: corpus, measure: loss, verified: all}", "error", "one_kind", "gates.staging[2]"),
    ("{dataset: corpus, verified: all}", "{verified: all}", "error", "one_kind", "gates.staging[2]"),
    ("{dataset: corpus, verified: all}", "{dataset: corpus, verified: all, within: 5%}", "error", "not_used", "gates.staging[2].within"),
    ("at: [10, 50, 100]", "at: [10, 100, 50]", "error", "at_rise", "gates.staging[0].at[2]"),
    ("mode: graceful", "mode: emergency", "warning", "gap_not_accepted", "triggers[0].mode"),
    ("windows: [2min, 10min]", "windows: [10min, 2min]", "error", "windows_order", "triggers[0].windows"),
    ("windows: [2min, 10min]", "windows: [2min]", "error", "missing_field", "triggers[0].windows[1]"),
    ("windows: [2min, 10min]", "windows: [2min, 30min]", "warning", "soak_below_window", "routes[0].soak.at_least"),
    ("{measure: loss, worse_by: 1%, action: hold}", "{measure: loss, worse_by: 1%, action: stop}", "error", "value", "triggers[1].action"),
    ("worse_by: 1%, action: hold}", "worse_by: 1%, action: hold}\n  - {measure: chat-errors, above: 5}", "error", "unit", "triggers[2].above"),
    ("worse_by: 1%, action: hold}", "worse_by: 1%, action: tell}", "warning", "unguarded", "routes[1]"),
    ("kind: loss", "kind: memory", None, "", ""),
    ("kind: loss\n    legacy: {", "kind: memory\n    legacy: {unit: GiB, ", None, "", ""),
    ("kind: loss\n    legacy: {", "kind: memory\n    legacy: {unit: s, ", "error", "not_used", "measures[0].legacy.unit"),
    ("kind: loss\n    legacy: {", "kind: loss\n    legacy: {unit: GiB, ", "error", "not_used", "measures[0].legacy.unit"),
    # windows
    ("dual: 7d", "dual: 6d", "warning", "short_window", "windows.dual"),
    ("retire: 30d", "retire: 1w", "warning", "short_window", "windows.retire"),
    ("spacing: 30s", "spacing: 29s", "warning", "short_window", "windows.spacing"),
    ("[10 TB, 0.12], [140 TB, 0.11]", "[10 TB, 0.12], [9 TB, 0.11]", "error", "tiers_rise", "legacy.egress_usd_per_gb[1]"),
    ("[10 TB, 0.12]", "[10, 0.12]", "error", "unit", "legacy.egress_usd_per_gb[0][0]"),
    # fields
    ("at_least: 15min", "at_least: 15", "error", "unit", "routes[0].soak.at_least"),
    ("name: chat-2026", "name: Chat 2026", "error", "name", "name"),
    ("count: 8, memory_gb: 38", "count: 0, memory_gb: 38", "error", "value", "workloads[0].gpus.count"),
    ("user: ops,", "user: ops, prot: 22,", "error", "unknown_field", "legacy.hosts[0].prot"),
    ("parallel: 16", "paralel: 16", "error", "unknown_field", "transfer.paralel"),
    ("corpus-old: {url", "corpus old: {url", "error", "name", "stores.corpus old"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "severity", "code", "field"), CASES, ids=[f"{c[3]}-{c[4]}" for c in CASES])
def test_one_mistake_is_one_problem_at_its_place(old: str, new: str, severity: str | None, code: str, field: str) -> None:
    text = changed(old, new)
    problems = found(text)
    if severity is None:
        assert problems == {}
        return
    problem = problems[code]
    assert (problem.severity, problem.field) == (severity, field)
    assert problem.where == f"plan.yaml:{problem.line}:{field}"
    assert problem.hint or "expected" in problem.message, "it says no cure"
    assert text.splitlines()[problem.line - 1] not in ("", documented_plan().splitlines()[0])
    others = {p.code: p.field for p in problems.values() if p.code not in (code, "unused_store", "unknown_store")}
    assert others == {}, "one mistake tells of others"


def test_a_writer_whose_loss_is_accepted_needs_no_way_back() -> None:
    text = changed("reverse: true, ", "").replace(
        "    writes: [checkpoints]", "    writes: [checkpoints]\n    rollback_loses_writes: accepted"
    )
    assert found(text) == {}


def test_a_dataset_has_one_writer() -> None:
    text = changed(
        "    datasets: [corpus]\n",
        "    datasets: [corpus]\n    writes: [checkpoints]\n    quiesce: {command: [a], resume: [b]}\n",
    )
    problems = found(text.replace("steps: [5, 25, 50, 100]", "steps: [100]"))
    assert problems["two_writers"].field == "workloads[1].writes[0]"


def test_a_loopback_endpoint_may_be_plain_http() -> None:
    for host in ("127.0.0.1:9000", "localhost", "[::1]:8333"):
        assert found(changed("https://objects.example.net", f"http://{host}")) == {}


@pytest.mark.parametrize(
    ("store", "code", "field"),
    [
        ('{url: "az://account/"}', "store_url", "url"),
        ('{url: "az://account/box/", access_key: "${env:K}", secret_key: "${env:S}"}', "store_field", "access_key"),
        ('{url: "gs://bucket/", secret_key: "${env:S}", session_token: "${env:T}"}', "store_field", "session_token"),
        ('{url: "gs://bucket/", region: us-central1}', "store_field", "region"),
        ('{url: "gs://bucket/", account: acme}', "store_field", "account"),
        ('{url: "az://box/", account: "${env:A}"}', "reference_not_here", "account"),
    ],
)
def test_a_field_of_another_cloud_is_refused_by_name(store: str, code: str, field: str) -> None:
    problem = found(changed("stores:\n", f"stores:\n  other: {store}\n"))[code]
    assert problem.field == f"stores.other.{field}"


def test_an_azure_account_in_its_field_is_the_account_in_the_url() -> None:
    text = changed("from: ckpt-old, to: ckpt-new", "from: one, to: two").replace(
        "stores:\n", 'stores:\n  one: {url: "az://acme/box/a/"}\n  two: {url: "az://box/a/b/", account: acme}\n'
    )
    assert found(text)["copied_onto_itself"].field == "datasets[1].to"


def test_two_datasets_may_not_be_copied_into_one_tree() -> None:
    text = changed("from: ckpt-old, to: ckpt-new", "from: ckpt-old, to: more").replace(
        "  ckpt-new: {url", '  more: {url: "s3://corpus/more/", endpoint: "https://objects.example.net/"}\n  ckpt-new: {url'
    )
    assert found(text)["overlap"].field == "datasets[1].to"


HUB = '  between: {url: "s3://%s", endpoint: "https://objects.example.net"}\n'


@pytest.mark.parametrize(
    ("url", "hub", "code"),
    [
        ("corpus/", "corpus-new", "copied_onto_itself"),
        ("corpus/between/", "between", "overlap"),
        ("way/", "between", None),
    ],
)
def test_a_hub_has_a_place_of_its_own(url: str, hub: str, code: str | None) -> None:
    text = changed("to: corpus-new, follow", f"hub: {hub}, compress: zstd, to: corpus-new, follow")
    problems = {p.field: p.code for p in errors(judged(text.replace("  ckpt-new: {url", HUB % url + "  ckpt-new: {url")))}
    assert problems == ({"datasets[0].hub": code} if code else {})


def test_a_hub_may_not_be_where_another_dataset_is() -> None:
    text = changed("to: corpus-new, follow", "hub: ckpt-new, to: corpus-new, follow")
    assert found(text)["overlap"].field == "datasets[0].hub"


def test_compression_without_a_hub_is_warned_of() -> None:
    problem = the(judged(changed("to: corpus-new, follow", "compress: zstd, to: corpus-new, follow")), "compress_without_hub")
    assert problem.severity == "warning"


def test_what_is_named_wrongly_is_not_told_again_where_it_is_referred_to() -> None:
    """A host whose own fields are wrong is still a host that others may name."""
    problems = found(changed("name: gcp-a1, address: 10.0.0.11,", "name: gcp-a1, adress: 10.0.0.11,"))
    assert set(problems) == {"unknown_field", "missing_field"}
    assert problems["unknown_field"].hint == "did you mean address?"


@pytest.mark.parametrize(
    ("span", "code", "field"),
    [
        ('{from: "Fri 16:00", to: "Mon 08:00", zone: Europe/Berln}', "zone", "windows.no_changes.zone"),
        ('{from: "Fri 25:00", to: "Mon 08:00"}', "instant", "windows.no_changes.from"),
        ('{from: "Fri 16:00", to: "2026-12-24 16:00"}', "instant", "windows.no_changes.to"),
        ('{from: "2026-12-24 16:00", to: "2026-12-23 16:00"}', "instant", "windows.no_changes.to"),
        ('{from: "2026-12-24", to: "2026-12-27 16:00"}', "instant", "windows.no_changes.from"),
    ],
)
def test_no_change_periods_are_on_a_calendar(span: str, code: str, field: str) -> None:
    problem = the(judged(changed("spacing: 30s}", f"spacing: 30s, no_changes: {span}}}")), code)
    assert problem.field == field


def test_a_worker_is_named_once() -> None:
    assert (
        the(judged(FULL.read_text().replace("workers: [old-1]", "workers: [old-1, old-1]")), "twice").field
        == "transfer.workers[1]"
    )


def test_workers_that_can_carry_nothing_are_told() -> None:
    idle = [p for p in judged(FULL.read_text()).problems if p.code == "idle_workers"]  # by the hub, and between trees behind SSH
    assert [(p.severity, p.field) for p in idle] == [("warning", "transfer.workers")]
    assert "idle_workers" not in {p.code for p in judged(FULL.read_text().replace("    hub: hub\n", "")).problems}


def test_each_code_is_one_word_that_scripts_can_rely_on() -> None:
    for text in (FULL.read_text(), *(changed(old, new) for old, new, *_ in CASES)):
        assert all(p.code.replace("_", "").isalpha() and p.code.islower() for p in judged(text).problems)


@pytest.mark.parametrize(
    ("old", "new", "code", "field"),
    [
        ("operators_group: migrators\n", "", "no_group", "operators"),
        ("observes: [ben]", "observes: [ann]", "two_roles", "operators.observes[0]"),
        ("operators: {acts: [ann, 1004], observes: [ben]}\n", "", "nobody_acts", "operators_group"),
    ],
)
def test_roles_are_those_of_one_group(old: str, new: str, code: str, field: str) -> None:
    text = FULL.read_text()
    assert old in text
    assert the(judged(text.replace(old, new)), code).field == field


def test_a_route_that_two_have_to_advance_does_not_advance_by_itself() -> None:
    text = FULL.read_text()
    assert "advance: auto" in text
    problem = the(judged(text.replace("two_person: [commit, decommission]", "two_person: [shift]")), "auto_by_two")
    assert problem.field.endswith(".advance")


@pytest.mark.parametrize(
    ("entry", "code", "field"),
    [
        ("{dataset: checkpoints, kind: snapshot}", "backup_beside", "backups[0]"),
        ("{dataset: checkpoints, kind: versioned}", "no_versions", "backups[0].kind"),
        ("{dataset: checkpoint, kind: snapshot}", "unknown_dataset", "backups[0].dataset"),
        ("{dataset: checkpoints, kind: snapshot, to: nowhere}", "unknown_store", "backups[0].to"),
        ("{dataset: checkpoints, kind: snapshot, to: ckpt-new}", "overlap", "backups[0].to"),
        ("{dataset: checkpoints, kind: snapshot, every: 0s}", "value", "backups[0].every"),
        ("{dataset: checkpoints, kind: command}", "no_command", "backups[0]"),
        ("{dataset: checkpoints, kind: command, command: [a]}", "no_place", "backups[0].command"),
        ("{dataset: checkpoints, kind: versioned, keep: 2}", "keep_not_here", "backups[0].keep"),
        ("{dataset: checkpoints, kind: snapshot, keep: 0}", "value", "backups[0].keep"),
        ("{dataset: checkpoints, kind: snapshot, command: [a]}", "command_not_here", "backups[0].command"),
        ("{dataset: checkpoints, kind: snapshot}, {dataset: checkpoints, kind: snapshot}", "two_backups", "backups[1].dataset"),
    ],
)
def test_a_backup_that_cannot_be_is_found_by_its_field(entry: str, code: str, field: str) -> None:
    assert found(documented_plan() + f"backups: [{entry}]\n")[code].field == field


def test_versions_of_a_bucket_need_nothing_more_and_snapshots_of_a_whole_one_a_place() -> None:
    plan = documented_plan().replace("s3://corp-corpus/v3/", "s3://corp-corpus/")
    assert found(plan + "backups: [{dataset: corpus, kind: versioned}]\n") == found(plan)
    assert found(plan + "backups: [{dataset: corpus, kind: snapshot}]\n")["no_place"].field == "backups[0]"
    placed = found(plan + "backups: [{dataset: corpus, kind: versioned, to: ckpt-new}]\n")
    assert placed["place_not_here"].field == "backups[0].to"
    google = plan.replace('url: "s3://corp-corpus/", region: us-east-1, profile: migration', 'url: "gs://corp-corpus/"')
    assert found(google + "backups: [{dataset: corpus, kind: versioned}]\n")["no_versions"].severity == "error"
