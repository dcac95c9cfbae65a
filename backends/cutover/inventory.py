"""What remains of legacy and what it costs: told and journaled before anything of it ends. Pure."""

from __future__ import annotations

from backends.cutover.migration import Migration
from backends.plan.models import Plan
from backends.snapshot import InventoryView


def inventory(plan: Plan, m: Migration) -> tuple[InventoryView, ...]:
    """Legacy's hosts with the price of their GPUs, then the stores that legacy's datasets lie in with what the last round counted there."""
    price = plan.legacy.gpu_hour_usd
    out = []
    for host in plan.legacy.hosts:
        gpus = host.gpus.count if host.gpus is not None else None
        cost = price * gpus if price is not None and gpus is not None else None
        kind = host.gpus.type or "" if host.gpus is not None else ""
        out.append(InventoryView(kind="host", name=host.name, detail=kind, gpus=gpus, usd_per_hour=cost))
    for name, store in plan.stores.items():
        held = [d.name for d in plan.datasets if d.from_ == name]
        if held:
            sizes = [m.rounds.get(d, {}).get("bytes_total") for d in held]
            total = sum(int(s) for s in sizes if s is not None) if all(s is not None for s in sizes) else None
            out.append(InventoryView(kind="store", name=name, detail=f"{store.url} ({', '.join(held)})", bytes=total))
    return tuple(out)


def inventory_text(items: tuple[InventoryView, ...]) -> str:
    """In one line: how many hosts, GPUs and stores, and what the GPUs cost a month of 730 hours."""
    hosts = [i for i in items if i.kind == "host"]
    gpus = sum(i.gpus or 0 for i in hosts)
    costs = [i.usd_per_hour for i in hosts]
    month = f", {sum(c for c in costs if c is not None) * 730:,.0f} USD a month" if any(c is not None for c in costs) else ""
    stores = [i for i in items if i.kind == "store"]
    sizes = [i.bytes for i in stores if i.bytes is not None]
    held = f" with {sum(sizes) / 1e9:,.1f} GB" if sizes else ""
    return f"{len(hosts)} hosts with {gpus} GPUs{month}; {len(stores)} stores{held}"
