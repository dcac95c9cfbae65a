"""Records as a plan writes them: names, addresses, and which weights they can say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.plan.load import check_plan
from backends.plan.records import RecordForm, parse_record, shares, split_server, values_at

BASE = """version: 1
name: dns
legacy: {{provider: a}}
target: {{provider: b}}
workloads: [{{name: w, class: batch}}]
routes:
  - name: chat
    workload: w
    steps: {steps}
    soak: {{at_least: {soak}}}
    rfc2136: {{server: {server}, zone: {zone}, record: {record}, tsig: "${{file:key}}", legacy: {legacy}, target: {target}{more}}}
"""
GOOD = {
    "steps": "[100]", "soak": "15min", "server": "10.0.0.53", "zone": "example.net", "record": "chat",
    "legacy": "192.0.2.1", "target": "192.0.2.2", "more": "",
}  # fmt: skip


def problems(tmp_path: Path, **fields: str) -> dict[str, str]:
    """Code -> `where: message (hint)` of what `check` finds, the usual warnings left out."""
    path = tmp_path / "plan.yaml"
    path.write_text(BASE.format(**(GOOD | fields)))
    found = check_plan(path).problems
    usual = ("no_probe", "unguarded")
    return {p.code: f"{p.where.split(':', 1)[1]}: {p.message} ({p.hint})" for p in found if p.code not in usual}


def test_a_good_one_has_no_problem(tmp_path: Path) -> None:
    assert problems(tmp_path) == {}


@pytest.mark.parametrize(
    ("record", "zone", "name"),
    [
        ("chat", "example.net", "chat.example.net"),
        ("Chat.Example.NET.", "example.net.", "chat.example.net"),
        ("chat.example.net", "example.net", "chat.example.net"),
        ("a.b", "example.net", "a.b.example.net"),
        ("@", "example.net", "example.net"),
        ("example.net", "example.net", "example.net"),
        ("*", "example.net", "*.example.net"),
        ("*.gpu", "example.net", "*.gpu.example.net"),
        ("_srv", "example.net", "_srv.example.net"),
    ],
)
def test_a_name_is_in_its_zone_however_it_is_written(record: str, zone: str, name: str) -> None:
    assert parse_record(record, zone, ["192.0.2.1"], ["192.0.2.2"]).name == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "a..b", "a b", "a\n", "é", "a" * 64, "a*", "chat.example.org.", "*.*", "a\\.b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(RecordForm):
        parse_record(name, "example.net", ["192.0.2.1"], ["192.0.2.2"])


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"steps": "[25, 100]", "soak": "15min"}, "weight_unsayable", "9:routes[0].steps[0]: found 25, which plain DNS cannot say with 2"),
        ({"steps": "[50, 100]", "legacy": "a.example.com", "target": "b.example.com"}, "weight_unsayable", "with a CNAME"),
        ({"legacy": "[192.0.2.1, \"2001:db8::1\"]"}, "record", "found A and AAAA in one record, expected one type"),
        ({"target": "192.0.2.1"}, "record", "found `192.0.2.1` twice"),
        ({"legacy": "\"2001:db8::1\"", "target": "\"2001:DB8:0::1\""}, "record", "found `2001:db8::1` twice"),
        ({"record": "\"@\"", "legacy": "a.example.com", "target": "b.example.com"}, "record", "a CNAME at the zone's apex"),
        ({"legacy": "[a.example.com, c.example.com]", "target": "b.example.com"}, "record", "a CNAME has one value"),
        ({"legacy": "localhost"}, "record", "found `localhost`, expected an address or a host's full name"),
        ({"legacy": "192.0.2"}, "record", "expected an address"),
        ({"legacy": "\"fe80::1%eth0\"", "target": "\"2001:db8::1\""}, "record", "without a zone index"),
        ({"legacy": "[]"}, "record", "found no address on one side"),
        ({"zone": "exam_ple..net"}, "record", "expected a domain name"),
        ({"record": "bücher"}, "record", "expected a name in ASCII (write it as xn--"),
        ({"server": "10.0.0.53:0"}, "name_server", "routes[0].rfc2136.server: found `10.0.0.53:0`, expected a port"),
        ({"server": "10.0.0"}, "name_server", "expected a name server's address or name"),
        ({"more": ", resolvers: [8.8.8.8, \"a b\"]"}, "name_server", "routes[0].rfc2136.resolvers[1]: found `a b`"),
        ({"more": ", authorities: [\"[::1]:x\"]"}, "name_server", "routes[0].rfc2136.authorities[0]"),
        ({"more": ", ttl: 500ms"}, "ttl", "found a TTL of 0.5 s, expected whole seconds"),
        ({"more": ", ttl: 2h"}, "long_ttl", "found a TTL of 2h"),
        ({"steps": "[50, 100]", "more": ", ttl: 30min"}, "soak_below_ttl", "found a soak of 15min, less than the TTL of 30min"),
    ],
)  # fmt: skip
def test_what_no_record_can_be_is_told_with_its_place(tmp_path: Path, fields: dict[str, str], code: str, words: str) -> None:
    found = problems(tmp_path, **fields)
    assert words in found[code], found


def test_the_weights_that_are_possible_are_told(tmp_path: Path) -> None:
    told = problems(tmp_path, steps="[30, 100]", legacy="[192.0.2.1, 192.0.2.2]", target="[192.0.2.3, 192.0.2.4]")
    assert "possible here: 50, 100; others want more addresses" in told["weight_unsayable"]


def test_updates_that_nothing_signs_are_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(BASE.format(**GOOD).replace('tsig: "${file:key}", ', ""))
    assert [p.severity for p in check_plan(path).problems if p.code == "unsigned_updates"] == ["warning"]


@given(st.integers(1, 12), st.integers(1, 12))
def test_each_weight_is_exactly_what_its_addresses_say(legacy: int, target: int) -> None:
    record = parse_record("c", "example.net", [f"192.0.2.{n}" for n in range(legacy)], [f"198.51.100.{n}" for n in range(target)])
    for weight, values in values_at(record).items():
        on_target = sum(v in record.target for v in values)
        assert on_target * 100 == weight * len(values)
    assert {0, 100} <= set(shares(legacy, target))
    assert len(set(values_at(record).values())) == len(values_at(record))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.53", ("10.0.0.53", 53)),
        ("10.0.0.53:5353", ("10.0.0.53", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ("ns1.example.net.", ("ns1.example.net", 53)),
    ],
)
def test_a_server_is_an_address_or_a_name_and_perhaps_a_port(text: str, found: tuple[str, int]) -> None:
    assert split_server(text) == found


OTHER = """version: 1
name: dns
legacy: {{provider: a}}
target: {{provider: b}}
workloads: [{{name: w, class: batch}}]
routes:
  - {{name: chat, workload: w, {route}}}
"""


@pytest.mark.parametrize(
    ("route", "code", "words"),
    [
        ("route53: {zone: example.net, record: a.example.net, legacy: 192.0.2.1, target: 192.0.2.2}", "zone_id", "expected the id of a"),
        ("route53: {zone: Z1, record: chat, legacy: 192.0.2.1, target: 192.0.2.2}", "record", "expected a full name such as"),
        ("route53: {zone: Z1, record: a.example.net, legacy: 192.0.2.1, target: a.example.com}", "record", "found A and CNAME"),
        ("route53: {zone: Z1, record: a.example.net, legacy: 192.0.2.1, target: 192.0.2.2, endpoint: x}", "endpoint", "found no URL"),
        (
            "route53: {zone: Z1, record: a.example.net, legacy: 192.0.2.1, target: 192.0.2.2, access_key: \"${env:K}\"}",
            "half_credential", "found one of access_key and secret_key",
        ),
        (
            "powerdns: {api: \"http://10.0.0.1:8081\", key: \"${env:K}\", zone: a.net, record: c, legacy: 192.0.2.1, target: 192.0.2.2}",
            "plain_http", "the key can be read on its way",
        ),
        (
            "powerdns: {api: \"https://p:8081\", key: \"${env:K}\", zone: a.net, record: c, legacy: a.b.net, target: b.b.net}",
            "record", "a LUA record chooses among addresses",
        ),
        (
            "powerdns: {api: \"https://p:8081\", key: secret, zone: a.net, record: c, legacy: 192.0.2.1, target: 192.0.2.2}",
            "literal_credential", "found a literal credential in `key`",
        ),
    ],
)  # fmt: skip
def test_what_route_53_and_powerdns_cannot_take_is_told(tmp_path: Path, route: str, code: str, words: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(OTHER.format(route=route))
    told = {p.code: p.message for p in check_plan(path).problems}
    assert words in told[code], told
