"""The sandbox's own plan: every name and address real, the windows seconds, `simulation: true`."""

from __future__ import annotations

import json
import sys

from backends.sandbox.layout import HOSTS, USER, Layout, host_of
from backends.sandbox.stores import BUCKETS, PREFIX
from backends.vocabulary import SideName

PLAN_NAME = "sandbox"
PROVIDERS: dict[SideName, str] = {"legacy": "sandbox-old", "target": "sandbox-new"}


def _q(text: object) -> str:
    """A JSON string is a YAML string, whatever is in it."""
    return json.dumps(str(text), ensure_ascii=False)


def _hosts(layout: Layout, side: SideName) -> str:
    return "".join(
        f"    - {{name: {h.name}, address: 127.0.0.1, user: {USER}, port: {layout.port(h.name)},"
        f" gpus: {{type: {h.gpu_type}, count: {h.gpus}}}}}\n"
        for h in HOSTS
        if h.side == side
    )


def _measure(name: str, workload: str, kind: str, role: str, file: str, value: str, by: str, **more: str) -> str:
    sides = "".join(
        f"    {side}: {{file: {_q(f'ssh://{host_of(side, role)}{file}')}, value: {value}, by: {by}}}\n" for side in PROVIDERS
    )
    added = "".join(f"    {key}: {text}\n" for key, text in more.items())
    return f"  - name: {name}\n    workload: {workload}\n    kind: {kind}\n{added}{sides}"


def _bucket(layout: Layout, store: str, endpoint: str) -> str:
    access, secret = (_q(f"${{file:{layout.path('keys') / name}}}") for name in ("s3-access", "s3-secret"))
    return (
        f'{{url: "s3://{BUCKETS[store]}/{PREFIX}", endpoint: "{layout.url(endpoint)}", region: us-east-1,'
        f" access_key: {access}, secret_key: {secret}}}"
    )


def plan_text(layout: Layout) -> str:
    """The plan of this sandbox."""
    queue = [sys.executable, "-m", "backends.sandbox.queue", str(layout.root)]
    set_queue = ", ".join(_q(word) for word in [*queue, "set", "{weight}"])
    get_queue = ", ".join(_q(word) for word in [*queue, "get"])
    chat = {side: layout.url(f"chat-{side}") for side in ("legacy", "target")}
    metrics, requests = "/train/metrics.jsonl", "/chat/requests.jsonl"
    return f"""\
# Two small providers on this machine, made by `cutover sandbox`: a simulation. Windows that are days elsewhere are seconds here.
version: 1
name: {PLAN_NAME}
simulation: true

legacy:
  provider: {PROVIDERS["legacy"]}
  region: old-west-1
  hosts:
{_hosts(layout, "legacy")}  gpu_hour_usd: 2.93
  egress_usd_per_gb: [[10 TB, 0.12], [140 TB, 0.11], [inf, 0.08]]
target:
  provider: {PROVIDERS["target"]}
  region: new-east-1
  hosts:
{_hosts(layout, "target")}  gpu_hour_usd: 2.49

ssh:
  config: {_q(layout.path("ssh_config"))}
  known_hosts: {_q(layout.path("known_hosts"))}
  connect_timeout: 5s

lease: none  # two small providers on one machine: there is no second bastion

stores:
  corpus-old: {_bucket(layout, "s3-old", "s3-wire")}
  corpus-new: {_bucket(layout, "s3-new", "s3-new")}
  ckpt-old: {{url: "ssh://{host_of("legacy", "training")}/ckpt/"}}
  ckpt-new: {{url: "ssh://{host_of("target", "training")}/ckpt/"}}

datasets:
  - {{name: corpus, from: corpus-old, to: corpus-new, follow: 5s}}
  - {{name: checkpoints, from: ckpt-old, to: ckpt-new, reverse: true, follow: 3s}}

transfer: {{parallel: 16}}

workloads:
  - name: chat
    class: realtime
    gpus: {{count: 4, memory_gb: 33}}
    framework: {{name: pytorch, version: "2.4", cuda: "12.4"}}
    runs_on: {{legacy: [{host_of("legacy", "chat")}], target: [{host_of("target", "chat")}]}}
    datasets: [corpus]
  - name: pretrain
    class: training
    gpus: {{count: 4, memory_gb: 36}}
    framework: {{name: pytorch, version: "2.4", cuda: "12.4"}}
    runs_on: {{legacy: [{host_of("legacy", "training")}], target: [{host_of("target", "training")}]}}
    datasets: [corpus, checkpoints]
    writes: [checkpoints]
    quiesce:
      command: [trainctl, stop]
      resume: [trainctl, start]
      status: [trainctl, status]
      step: [trainctl, step]
      on: hosts
      timeout: 20s

routes:
  - name: chat
    workload: chat
    sandbox: {{admin: "{layout.url("admin")}"}}
    steps: [5, 25, 50, 100]
    advance: manual
    soak: {{at_least: 6s, samples: 30}}
    probe: {{url: "{layout.url("front")}/", legacy: "{chat["legacy"]}/healthz", target: "{chat["target"]}/healthz", timeout: 2s}}
  - name: jobs
    workload: pretrain
    command:
      set: [{set_queue}]
      get: [{get_queue}]
      timeout: 10s
    steps: [100]
    advance: manual
    soak: {{at_least: 6s}}
    probe: {{legacy: "{layout.url("jobs-legacy")}/healthz", target: "{layout.url("jobs-target")}/healthz", timeout: 2s}}

measures:
{_measure("loss", "pretrain", "loss", "training", metrics, "loss", "epoch", noise="0.1%")}\
{_measure("step-time", "pretrain", "step_time", "training", metrics, "step_time", "step")}\
{_measure("chat-latency", "chat", "latency", "chat", requests, "latency_ms", "time", quantile="0.5")}\
{_measure("chat-errors", "chat", "error_rate", "chat", requests, "error", "time")}
gates:
  testing:
    - {{measure: loss, at: [10, 50], within: 0.5%}}
  staging:
    - {{measure: loss, at: [10, 50, 100], within: 0.5%}}
    - {{measure: step-time, within: 5%}}
    - {{measure: chat-latency, within: 15%}}
    - {{dataset: corpus, verified: all}}
    - {{dataset: checkpoints, verified: all}}
triggers:
  - {{measure: chat-errors, above: 0.1%, windows: [2s, 6s], action: rollback, mode: graceful, limit: 60s}}
  - {{measure: chat-latency, worse_by: 25%, windows: [2s, 6s], action: rollback, mode: graceful, limit: 60s}}
  - {{measure: loss, worse_by: 1%, windows: [2s, 6s], action: hold}}
  - {{measure: step-time, worse_by: 10%, windows: [2s, 6s], action: hold}}

windows: {{dual: 8s, retire: 6s, spacing: 1s}}
"""
