"""From the plan's route to the thing that sets it."""

from __future__ import annotations

from pathlib import Path

from backends.children import Children
from backends.errors import UsageError
from backends.plan.models import Route as RouteSpec
from backends.ssh.pool import SshPool
from backends.traffic.base import Route
from backends.traffic.command import CommandRoute
from backends.traffic.sandbox import SandboxRoute


def open_route(spec: RouteSpec, *, base: Path, children: Children, pool: SshPool | None = None) -> Route:
    """The route of the plan; `base` is the plan's folder, `pool` how hosts are reached. Close it when done. Contacts nothing yet."""
    if spec.command is not None:
        return CommandRoute(spec.name, spec.command, base=base, children=children)
    if spec.sandbox is not None:
        return SandboxRoute(spec.name, spec.sandbox, spec.probe)
    if spec.rfc2136 is not None:
        from backends.traffic.rfc2136 import Rfc2136Route  # dnspython, for those who need it

        return Rfc2136Route(spec.name, spec.rfc2136, base=base)
    if spec.route53 is not None:
        from backends.traffic.route53 import Route53Route

        return Route53Route(spec.name, spec.route53, base=base)
    if spec.powerdns is not None:
        from backends.traffic.powerdns import PowerdnsRoute

        return PowerdnsRoute(spec.name, spec.powerdns, base=base)
    if spec.haproxy is not None:
        from backends.traffic.haproxy import HaproxyRoute

        return HaproxyRoute(spec.name, spec.haproxy, spec.probe, pool)
    if spec.slurm is not None and pool is not None:
        from backends.traffic.slurm import SlurmRoute

        return SlurmRoute(spec.name, spec.slurm, pool=pool, base=base, children=children)
    if spec.gateway is not None:
        from backends.traffic.gateway import GatewayRoute

        return GatewayRoute(spec.name, spec.gateway, base=base)
    raise UsageError(f"route {spec.name}: it is of no kind", where=f"routes.{spec.name}", hint="cutover check names the kinds")
