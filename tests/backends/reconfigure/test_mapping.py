"""Which texts become which, and which must not be left."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.plan.load import parse_plan
from backends.reconfigure.mapping import Mapping

PLAN = """\
version: 1
name: m
legacy: {provider: a, region: us-central1, hosts: [{name: old-1, address: 10.0.0.11}, {name: old-2, address: 10.0.0.12}]}
target: {provider: b, region: us-east-1, hosts: [{name: new-1, address: 10.1.0.21}, {name: new-2, address: 10.1.0.22}]}
stores:
  corpus: {url: "gs://corp-corpus/v3/"}
  there: {url: "s3://corpus/"}
  tree: {url: "file:///mnt/old/data/"}
  tree-new: {url: "file:///data/"}
datasets: [{name: corpus, from: corpus, to: there}, {name: tree, from: tree, to: tree-new}]
workloads: [{name: chat, class: batch, runs_on: {legacy: [old-1, old-2], target: [new-1, new-2]}}]
reconfigure:
  rules:
    - {replace: "http://prom-old:9090", with: "http://prom-new:9090"}
    - {key: DATABASE_URL, with: "${DATABASE_URL}"}
    - {key: "*.memory", match: "^(\\\\d+)Gi$", with: "\\\\g<1>G"}
  keep: [us-central1-docs]
"""


@pytest.fixture
def mapping() -> Mapping:
    found = parse_plan(PLAN, Path("plan.yaml"))
    assert found.plan is not None, found.problems
    return Mapping(found.plan)


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("A", "gs://corp-corpus/v3/train/x", "s3://corpus/train/x"),
        ("A", "gs://corp-corpus/v3", "s3://corpus"),
        ("A", "corp-corpus", "corpus"),
        ("A", "gs://corp-corpus/v30/x", "gs://corpus/v30/x"),
        ("A", "corp-corpus-2", "corp-corpus-2"),
        ("A", "/mnt/old/data/x", "/data/x"),
        ("A", "10.0.0.11:8080,10.0.0.12:8080", "10.1.0.21:8080,10.1.0.22:8080"),
        ("A", "10.0.0.110", "10.0.0.110"),
        ("A", "old-1.internal", "old-1.internal"),
        ("A", "ssh old-1 run", "ssh new-1 run"),
        ("A", "http://prom-old:9090/api", "http://prom-new:9090/api"),
        ("DATABASE_URL", "postgres://u:hunter2@db/x", "${DATABASE_URL}"),
        ("resources.limits.memory", "32Gi", "32G"),
        ("other", "32Gi", "32Gi"),
    ],
)
def test_rules_of_the_plan_and_those_that_follow_from_it(mapping: Mapping, key: str, old: str, new: str) -> None:
    assert mapping.change(key, old) == new
    assert mapping.change(key, new) == new, "a second time changes nothing"


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("gs://corp-corpus/v3/x", ["store"]),
        ("bucket: corp-corpus", ["store"]),
        ("10.0.0.12", ["host"]),
        ("region=us-central1-a", []),
        ("region=us-central1", ["region"]),
        ("see us-central1-docs", []),
        ("GPU-8f2c1d3e-1111-2222-3333-444455556666", ["device"]),
        ("s3://corpus/x on new-1 in us-east-1", []),
    ],
)
def test_what_is_left_of_legacy_is_told_once(mapping: Mapping, text: str, kinds: list[str]) -> None:
    assert [f.kind for f in mapping.left(text)] == kinds
