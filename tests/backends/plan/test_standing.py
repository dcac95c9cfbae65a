"""What a plan holds, with the remark that stands beside each field, and no secret."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.plan.standing import standing, told_once
from tests.backends.inventory.test_draft import drafted, host, process
from tests.backends.plan.plans import documented_plan

PLAN = """\
legacy:
  provider: gcp  # seen: DMI
  hosts:
    # two cards
    - name: a1
      gpus: {type: "A100 # SXM4", count: 8}  # seen: nvidia-smi
      spot: false  # not known: nothing tells
      # NVLink is there
    # one card
    - name: a2  # seen as A2
      gpus:
        type: L4   # inferred: lspci
stores:
  old: {url: "s3://old/#a", secret_key: hunter2, session_token: "${env:TOKEN}"}  # seen: environment
  new:
    url: s3://new/
    # growth: not known
  # which of these move
datasets: [{name: corpus, from: old, to: new}]
workloads:
  - {name: chat, class: realtime, runs_on: {legacy: [a1, a2]}, writes: []}
target: {provider: unknown}  # not known: where it goes
"""


def test_each_field_has_the_remark_of_its_line_and_each_thing_its_notes() -> None:
    found = {(item.kind, item.name): item for item in standing(PLAN)}
    assert list(found) == [
        ("plan", ""), ("side", "legacy"), ("host", "a1"), ("host", "a2"), ("workload", "chat"),
        ("store", "old"), ("store", "new"), ("dataset", "corpus"), ("side", "target"),
    ]  # fmt: skip
    first = found["host", "a1"]
    told = [(fact.field, fact.value, fact.remark) for fact in first.facts[1:]]
    assert told == [
        ("gpus.type", "A100 # SXM4", "seen: nvidia-smi"),
        ("gpus.count", "8", "seen: nvidia-smi"),
        ("spot", "false", "not known: nothing tells"),
    ]
    assert (first.line, first.notes, first.unknown) == (5, ("two cards", "NVLink is there"), ("spot: not known: nothing tells",))
    assert found["host", "a2"].notes == ("one card",)
    assert found["host", "a2"].value("gpus.type") == "L4"
    assert found["store", "new"].unknown == ("growth: not known",)
    assert found["plan", ""].notes == ("which of these move",), "what belongs to nothing is not lost"
    assert found["workload", "chat"].value("runs_on.legacy") == "a1, a2"
    assert found["side", "target"].unknown == ("provider: not known: where it goes",)


def test_a_remark_on_a_line_of_its_own_is_told_once_and_none_is_lost() -> None:
    text = drafted(host("a-1", process()), host("a-2", process(user="ann")), provider="gcp")
    told = [note for item in standing(text) for note in item.notes]
    written = [line.strip().removeprefix("# ") for line in text.splitlines() if line.strip().startswith("#")]
    assert sorted(told) == sorted(note[:300] for note in written)


def test_one_remark_on_several_fields_is_one_thing_to_find_out() -> None:
    fields = "  - name: w\n    gpus: {count: 4, memory_gb: 2}  # seen: squeue; memory: not told by Slurm\n"
    [item] = standing(f"workloads:\n{fields}")
    assert item.unknown == ("gpus: memory: not told by Slurm",)
    [whole] = [fact for fact in told_once(item.facts) if fact.field == "gpus"]
    assert whole.value == "count 4, memory_gb 2"


def test_what_is_hidden_in_the_plans_lines_is_hidden_here() -> None:
    text = str(standing(PLAN))
    assert "hunter2" not in text
    assert "${env:TOKEN}" in text
    assert "s3://old/#a" in text


def test_a_draft_tells_the_same_here_as_in_the_file() -> None:
    text = drafted(host("a-1", process()), host("a-2", process(user="ann")), provider="gcp")
    found = standing(text)
    assert [item.name for item in found if item.kind == "host"] == ["a-1", "a-2"]
    asked = [line for line in text.splitlines() if "not known" in line]
    assert sum(len(item.unknown) for item in found) == len(asked)
    assert all(fact.remark for item in found if item.kind == "store" for fact in item.facts)


def test_the_documented_plan_is_listed_whole() -> None:
    kinds = [item.kind for item in standing(documented_plan())]
    assert kinds.count("side") == 2
    assert min(kinds.count(kind) for kind in ("host", "workload", "store", "dataset")) >= 1


@given(st.text(alphabet=st.sampled_from("legacyhostnm:- #{}[],\n\"'&*!|>\x1b\u202e1"), max_size=200))
def test_whatever_the_file_holds_nothing_is_raised(text: str) -> None:
    for item in standing(f"legacy:\n  hosts:\n    - {text}\nworkloads: {text}\nstores:\n  a: {text}"):
        assert "\x1b" not in str([item.name, *item.notes, *(f.value + f.remark for f in item.facts)])
