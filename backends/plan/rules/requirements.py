"""What workloads require of target beyond GPUs: where it is, what it is attested for, that its hosts stay; and how often they run."""

from __future__ import annotations

from collections.abc import Iterator

from backends.listed import listed
from backends.plan.document import Path
from backends.plan.models import Host, Plan, Workload
from backends.plan.problems import Findings
from backends.plan.regions import AREAS, countries_of, country_of
from backends.plan.rules.names import Names


def check_requirements(plan: Plan, _names: Names, findings: Findings) -> None:
    for side in ("legacy", "target"):
        _is_country(plan.side(side).country, (side, "country"), findings)
        for i, host in enumerate(plan.side(side).hosts):
            _is_country(host.country, (side, "hosts", i, "country"), findings)
    for i, work in enumerate(plan.workloads):
        _locality(plan, i, work, findings)
        _compliance(plan, i, work, findings)
        _rhythm(plan, i, work, findings)
    _spot(plan, findings)


def target_hosts(plan: Plan, work: Workload) -> Iterator[tuple[int, Host]]:
    """Those that the workload is to run on: all of target where it names none."""
    for i, host in enumerate(plan.target.hosts):
        if not work.runs_on.target or host.name in work.runs_on.target:
            yield i, host


def _is_country(country: str | None, path: Path, findings: Findings) -> None:
    if country is not None and (country in AREAS or countries_of(country) is None):
        findings.error(path, "country", f"found `{country}`, expected a country's code of two letters", "such as DE, IE or US")


def _locality(plan: Plan, index: int, work: Workload, findings: Findings) -> None:
    allowed: set[str] = set()
    for i, place in enumerate(work.locality):
        countries = countries_of(place)
        if countries is None:
            hint = f"{', '.join(AREAS)}, or a country's code of two letters: such as [EU] or [DE, FR]"
            findings.error(
                ("workloads", index, "locality", i), "locality_name", f"found `{place}`, expected where it may be", hint
            )
            return
        allowed |= countries
    if not allowed:
        return
    wanted = f"{work.name} may be in {listed(work.locality, 4)} only"
    for path, what, region, country in _places(plan, work):
        found = country.upper() if country else country_of(region)
        if found is None:
            where = f"region {region}" if region else "no region"
            hint = "write its country beside it: country: DE" if path[0] != "stores" else "write the region as its cloud calls it"
            findings.warning(path, "locality_unknown", f"{wanted}, and where {what} is, is not known ({where})", hint)
        elif found not in allowed:
            told = f"region {region} is in {found}" if region and not country else f"it is in {found}"
            hint = "another region of target, or take the requirement out where it does not hold"
            findings.error(path, "locality", f"{wanted}, and {what} is not there: {told}", hint)


def _places(plan: Plan, work: Workload) -> Iterator[tuple[Path, str, str | None, str | None]]:
    """What of target holds the workload or its data: the field, what it is, its region, its country."""
    target = plan.target
    own = [(i, host) for i, host in target_hosts(plan, work) if host.region or host.country]
    for i, host in own:
        path: Path = ("target", "hosts", i, "country" if host.country else "region")
        yield path, f"host {host.name}", host.region, host.country
    if len(own) < len(list(target_hosts(plan, work))) or not target.hosts:
        yield ("target", "country" if target.country else "region"), f"target ({target.provider})", target.region, target.country
    held = {name for d in plan.datasets if d.name in (*work.datasets, *work.writes) for name in (d.to, d.hub) if name}
    for name in sorted(held):
        store = plan.stores.get(name)
        if store is not None and store.region is not None:
            yield ("stores", name, "region"), f"store {name}", store.region, None


def _compliance(plan: Plan, index: int, work: Workload, findings: Findings) -> None:
    """Nobody but an operator knows what a provider is attested for: his word is asked for, and held against what is required."""
    given = {word.casefold() for word in plan.target.compliance}
    for i, need in enumerate(work.compliance):
        if need.casefold() in given:
            continue
        path = ("workloads", index, "compliance", i)
        if plan.target.compliance:
            message = f"{work.name} requires {need}, and target ({plan.target.provider}) has {listed(plan.target.compliance, 6)}"
            findings.error(path, "compliance", message, "add it to target.compliance once it is shown, or choose another target")
        else:
            message = f"{work.name} requires {need}, and nothing says that target ({plan.target.provider}) meets it"
            findings.note(path, "compliance_unknown", message, f"once it is shown: target: {{compliance: [{need}]}}")


def _rhythm(plan: Plan, index: int, work: Workload, findings: Findings) -> None:
    if work.every is None:
        return
    path = ("workloads", index, "every")
    if work.duration is not None and work.duration > work.every:
        message = f"{work.name} runs for longer ({work.duration:g} s) than the time between two runs ({work.every:g} s)"
        findings.error(path, "every", message, "`every` is from the beginning of one run to that of the next")
    elif work.every > plan.windows.dual:
        days = work.every / 86400
        message = f"{work.name} runs every {days:g} d, and the dual window is {plan.windows.dual / 86400:g} d: it may see no run"
        findings.warning(path, "every_dual", message, f"windows: {{dual: {days:g}d}}, or run it by hand within the window")


def _spot(plan: Plan, findings: Findings) -> None:
    """Fine for tests, never for a production cutover: what is taken away at a minute's notice is no side that serves."""
    for i, host in enumerate(plan.target.hosts):
        if not host.spot:
            continue
        works = [work.name for work in plan.workloads if any(host.name == h.name for _, h in target_hosts(plan, work))]
        path = ("target", "hosts", i, "spot")
        if works:
            message = f"found a spot host that {listed(works, 4)} would run on: its provider may take it away at any time"
            hint = "an on-demand or reserved host for the cutover; for tests keep it out of runs_on.target"
            findings.error(path, "spot_host", message, hint)
        else:
            findings.note(
                path,
                "spot_for_tests",
                f"{host.name} is a spot host: for tests only, no workload runs on it",
                "keep it out of runs_on.target",
            )
