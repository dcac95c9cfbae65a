"""The plan: what an operator writes, as pydantic models. Strict: a field that is not known is an error.

Durations are seconds, sizes bytes, rates bits a second, shares fractions: the units of the text are parsed in
`backends.plan.units`. Strings that may hold a reference (`${env:…}`) keep it: `backends.plan.references` resolves them, late.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, StringConstraints, WithJsonSchema

from backends.plan.backups import Backup
from backends.plan.parts import Argv, Number, Part, Text, Truth, Whole
from backends.plan.queues import GatewayRoute, SlurmRoute
from backends.plan.quotas import Quota
from backends.plan.units import Duration, Limit, Rate, Share, Size, TierBound
from backends.plan.ways import Quiesce
from backends.vocabulary import Phase

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
MigrationName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")]
Port = Annotated[Whole, Field(ge=1, le=65535)]
Weight = Annotated[Whole, Field(ge=0, le=100)]
Price = Annotated[Number, Field(ge=0, allow_inf_nan=False)]
ConfigPath = Annotated[str, StringConstraints(pattern=r"^(/|~/)[^\x00]{1,1000}$")]
WorkloadClass = Literal["realtime", "batch", "training", "pipeline"]
MeasureKind = Literal["loss", "throughput", "step_time", "latency", "error_rate", "memory", "value"]
Axis = Literal["epoch", "step", "samples", "tokens", "time"]


class GpuNeed(Part):
    """GPUs of a host (`type`, `count`) or needed by a workload (`count`, `memory_gb` on each)."""

    type: str | None = None
    count: Whole = Field(default=1, ge=1)
    memory_gb: Number | None = Field(default=None, gt=0, allow_inf_nan=False)


class Host(Part):
    name: Name
    address: Text  # `local` is the engine's own machine: probed without SSH, and nothing else
    user: str | None = None
    port: Port | None = None
    via: str | None = None  # a host of the plan or an alias of the ssh_config
    dcgm: str | None = None  # the URL of its dcgm-exporter's page, for where neither our agent nor nvidia-smi can read its GPUs
    gpus: GpuNeed | None = None
    spot: Truth = False  # or preemptible: its provider may take it away
    region: Text | None = None  # default: the side's
    country: Text | None = None  # ISO 3166-1 alpha-2, where the region does not tell


class Side(Part):
    provider: Text
    region: str | None = None
    country: Text | None = None
    compliance: tuple[Text, ...] = ()  # what the provider is shown to meet
    hosts: tuple[Host, ...] = ()
    gpu_hour_usd: Price | None = None
    egress_usd_per_gb: tuple[tuple[TierBound, Price], ...] = ()  # tiers: up to so many bytes a month, USD a GB (10^9)


class Ssh(Part):
    config: str | None = None
    known_hosts: str | None = None
    connect_timeout: Duration = 10.0


class Store(Part):
    """One tree of objects: `s3://`, `gs://`, `az://`, `file://` or `ssh://`."""

    url: Text
    account: Text | None = None  # of Azure, where the URL begins with the container
    region: str | None = None
    profile: str | None = None
    endpoint: str | None = None
    path_style: Truth | None = None  # default: true where an endpoint is given
    access_key: str | None = Field(default=None, repr=False)
    secret_key: str | None = Field(default=None, repr=False)
    session_token: str | None = Field(default=None, repr=False)

    @property
    def is_whole_bucket(self) -> bool:
        """Is all of a bucket or container the store, so that nothing lies beside it?"""
        scheme, _, rest = self.url.partition("://")
        depth = 2 if scheme == "az" and self.account is None else 1
        return scheme in ("s3", "gs", "az") and len(rest.rstrip("/").split("/")) <= depth


class Dataset(Part):
    name: Name
    from_: str = Field(alias="from")
    hub: str | None = None
    to: str
    compress: Literal["auto", "never", "zstd"] = "never"  # on the way to the hub
    hub_days: Whole = Field(default=7, ge=1, le=365)  # after which objects on the hub expire
    follow: Duration | None = None
    exclude: tuple[str, ...] = ()
    size: Size | None = None
    growth: Size | None = None  # a day
    objects: Whole | None = Field(default=None, ge=0)
    delete: Literal["never", "after-commit"] = "never"
    reverse: Truth = False
    unit: Literal["object", "folder"] = "object"
    newest_first: Truth = False
    markers: tuple[Text, ...] | None = None  # globs; default: the usual ones, `transfer.models.MARKERS`
    settle: Duration = 30.0


class Transfer(Part):
    parallel: Annotated[Whole, Field(ge=1, le=1024)] | None = None  # None: as many as the stores' latency wants
    bandwidth: Rate | None = None
    workers: tuple[str, ...] = ()
    worker_program: Annotated[Text, StringConstraints(min_length=1)] = "cutover"
    max_delete: Share = 0.01


class Framework(Part):
    name: str
    version: str | None = None
    cuda: str | None = None
    image: Text | None = None  # the container image that it comes in, as docker or podman on the hosts call it
    target_image: Text | None = None  # the same for target, where its own registry has it under another name

    def image_on(self, side: str) -> str | None:
        """What the side runs."""
        return self.target_image or self.image if side == "target" else self.image


class RunsOn(Part):
    legacy: tuple[str, ...] = ()
    target: tuple[str, ...] = ()


class Load(Part):
    """What `cutover load` sends to both sides, and how alike the answers must be. Requests a second, seconds, fractions."""

    legacy: Text
    target: Text
    method: Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,20}$")] = "GET"
    headers: dict[str, str] = Field(default_factory=dict, repr=False)  # values may be references
    body: str | None = None
    replay: str | None = None  # an access log or JSON Lines, relative to the plan, with its own timing
    rate: Annotated[Number, Field(gt=0, le=100_000)] = 10.0
    for_: Duration = Field(default=60.0, alias="for")
    timeout: Duration = 30.0
    stream: Literal["openai"] | None = None
    ignore: tuple[Text, ...] = ()  # JSON paths that may differ: id, created, usage.total_tokens
    text: Share = 1.0  # share of a text that must agree
    number: Share = 0.0  # relative difference that numbers may have


class TrialFigure(Part):
    """A figure that the command of a validation run writes, and how far the sides may be apart."""

    value: Text
    kind: Literal["loss", "value", "step_time", "throughput"] = "loss"
    by: Literal["epoch", "step", "samples"] = "step"
    at: tuple[Annotated[Number, Field(allow_inf_nan=False)], ...] = ()
    within: Share | None = None  # default: the gate's
    higher_is_better: Truth | None = None  # default: by kind


class TrialRun(Part):
    """What `cutover validate` runs on a host of each side."""

    command: Argv  # with {seed} and {out} in it
    compare: Annotated[tuple[TrialFigure, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Annotated[Whole, Field(ge=0, lt=2**63)], ...], Field(min_length=1, max_length=32)] = (1,)
    folder: Text | None = None  # on the hosts; default: the login's home
    env: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = Field(default_factory=dict)
    timeout: Duration = 3600.0


class Workload(Part):
    name: Name
    class_: WorkloadClass = Field(alias="class")
    gpus: GpuNeed | None = None
    framework: Framework | None = None
    host_memory: Size | None = None
    compliance: tuple[Text, ...] = ()
    locality: tuple[Text, ...] = ()  # where it and its data may be: EU, EEA, or codes of countries
    duration: Duration | None = None  # of a run
    every: Duration | None = None  # from the beginning of a run to that of the next
    runs_on: RunsOn = RunsOn()
    after: tuple[str, ...] = ()  # workloads that move before it
    datasets: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    config: tuple[ConfigPath, ...] = ()  # files that its hosts have on both sides
    reaches: tuple[Text, ...] = ()  # URLs that its hosts of target must come to; a host of the plan by its name
    quiesce: Quiesce | None = None
    load: Load | None = None
    validate_: TrialRun | None = Field(default=None, alias="validate")
    rollback_loses_writes: Literal["accepted"] | None = None


class Soak(Part):
    at_least: Duration = 900.0
    samples: Whole = Field(default=0, ge=0)


class Probe(Part):
    """Where clients go (`url`), and each side's own data plane (`legacy`, `target`)."""

    url: str | None = None
    legacy: str | None = None
    target: str | None = None
    timeout: Duration = 2.0


class CommandRoute(Part):
    """`set` with `{weight}` in it, and `get` that prints the weight on the target; run on the engine's machine."""

    set: Argv
    get: Argv
    timeout: Duration = 10.0


class SandboxRoute(Part):
    """The front door of `cutover sandbox`: `GET` and `PUT {admin}/weight`."""

    admin: str


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


_ONE_OR_MANY = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Names = Annotated[tuple[Text, ...], BeforeValidator(_one_or_many), WithJsonSchema(_ONE_OR_MANY)]


class HaproxyRoute(Part):
    """A backend behind HAProxy's admin socket; `legacy` and `target` are server names of that backend."""

    socket: Text  # a path, or ssh://HOST/path
    backend: Text
    legacy: Names
    target: Names
    state_file: str | None = (
        None  # HAProxy's own `server-state-file`: without it a reload falls back to the configuration's weights
    )
    drain: Duration = 30.0  # a graceful rollback waits so long for sessions before it ends them


class Route53Route(Part):
    """A weighted record pair in an Amazon Route 53 zone, `zone` its id. Credentials: the plan's, else AWS's usual chain."""

    zone: Text
    record: Text
    legacy: Names
    target: Names
    ttl: Duration = 60.0
    region: str | None = None
    profile: str | None = None
    endpoint: str | None = None
    access_key: str | None = Field(default=None, repr=False)
    secret_key: str | None = Field(default=None, repr=False)
    session_token: str | None = Field(default=None, repr=False)
    authorities: Names = ()
    resolvers: Names = ()


class Rfc2136Route(Part):
    """A record that a name server takes updates for; `tsig` is the key's reference. Servers are `address[:port]`."""

    server: Text
    zone: Text
    record: Text
    tsig: str | None = Field(default=None, repr=False)
    legacy: Names
    target: Names
    ttl: Duration = 60.0
    authorities: Names | None = None  # default: the zone's name servers, as `server` knows them, at its port
    resolvers: Names = ()


class PowerdnsRoute(Part):
    """A LUA record of a PowerDNS, by its HTTP API; `key` is the API key's reference."""

    api: Text
    key: Text = Field(repr=False)
    zone: Text
    record: Text
    legacy: Names
    target: Names
    ttl: Duration = 60.0
    authorities: Names = ()
    resolvers: Names = ()


ROUTE_KINDS = ("haproxy", "route53", "rfc2136", "powerdns", "slurm", "gateway", "command", "sandbox")


class Route(Part):
    """Exactly one of `ROUTE_KINDS`."""

    name: Name
    workload: str
    command: CommandRoute | None = None
    sandbox: SandboxRoute | None = None
    haproxy: HaproxyRoute | None = None
    route53: Route53Route | None = None
    rfc2136: Rfc2136Route | None = None
    powerdns: PowerdnsRoute | None = None
    slurm: SlurmRoute | None = None
    gateway: GatewayRoute | None = None
    steps: Annotated[tuple[Weight, ...], Field(min_length=1)] = (5, 25, 50, 100)
    advance: Literal["manual", "auto"] = "manual"
    two_person: Truth = False
    soak: Soak = Soak()
    probe: Probe | None = None

    @property
    def ttl(self) -> float | None:
        """Seconds that an answer may be kept, of a route by DNS; None of others."""
        by_dns = self.rfc2136 or self.route53 or self.powerdns
        return by_dns.ttl if by_dns is not None else None

    @property
    def kind(self) -> str:
        """Which of `ROUTE_KINDS` it is."""
        return next((k for k in ROUTE_KINDS if getattr(self, k) is not None), "none")


class Source(Part):
    """Where one side's figures come from: a file (`file`, `value`, `by`, `pattern`), Prometheus (`prometheus`, `query`)
    or MLflow (`mlflow`, `run`, `value`, `by`)."""

    file: str | None = None
    value: str | None = None
    pattern: str | None = None  # a plain log: a regular expression with named groups
    by: Axis = "time"
    shift: Number | None = Field(
        default=None, allow_inf_nan=False
    )  # added to each place, where the sides count from 0 and from 1
    prometheus: str | None = None
    query: str | None = None
    total: str | None = (
        None  # error rates: all requests. Of Prometheus a counter, beside `query` of failed ones; a field of a file's line, a metric of MLflow
    )
    unit: Literal["s", "ms", "us", "B", "MB", "MiB", "GB", "GiB", "share"] | None = (
        None  # of a latency of Prometheus (taken as ms), of memory; `share`: of errors of a file or of MLflow, a share of requests that failed
    )
    mlflow: str | None = None  # the tracking server's address
    run: str | None = None  # of MLflow: the run's id
    token: str | None = Field(default=None, repr=False)  # of Prometheus and MLflow: a reference
    every: Duration | None = None  # how often a figure is expected; default: learnt from the data

    @property
    def is_log(self) -> bool:
        """A log, whose latencies and errors are one a request; a server gives figures made of many."""
        return self.prometheus is None and self.mlflow is None

    @property
    def gives_shares(self) -> bool:
        """Errors: is a figure a share of requests that failed, of nobody knows how many?"""
        return self.total is None and (not self.is_log or self.unit == "share")


class Measure(Part):
    name: Name
    workload: str
    kind: MeasureKind
    legacy: Source
    target: Source
    higher_is_better: Truth | None = None  # default: by kind
    quantile: Number | None = Field(default=None, gt=0, lt=1)  # latency: which; default 0.99
    noise: Share | None = None  # known run-to-run noise


Point = Annotated[Number, Field(allow_inf_nan=False)]  # a place on the axis: an epoch, a step, a number of samples


class Gate(Part):
    """`measure` (with `at` or `for`, `within`) or `dataset` (with `verified: all`)."""

    measure: str | None = None
    dataset: str | None = None
    at: tuple[Point, ...] = ()
    within: Share | None = None
    for_: Duration | None = Field(default=None, alias="for")
    verified: Literal["all"] | None = None
    one_sided: Truth = False

    @property
    def name(self) -> str:
        """How it is called in status and messages."""
        if self.dataset is not None:
            return f"{self.dataset} verified"
        points = ",".join(f"{a:g}" for a in self.at)
        return f"{self.measure}@{points}" if points else str(self.measure)


class Trigger(Part):
    measure: str
    worse_by: Share | None = None  # relative to legacy
    above: Limit | None = None  # absolute: error_rate as a share, latency in milliseconds as logged
    windows: tuple[Duration, Duration] | None = None  # short, long
    action: Literal["rollback", "hold", "tell"] = "rollback"
    mode: Literal["graceful", "emergency"] = "graceful"
    limit: Duration = 600.0
    emergency_gap: Literal["accepted"] | None = None
    at: tuple[Point, ...] = ()
    _number: int = PrivateAttr(default=1)

    @property
    def name(self) -> str:
        """How it is called in status and messages: as its measure, the second one of a measure `errors#2`."""
        return self.measure if self._number == 1 else f"{self.measure}#{self._number}"

    def numbered(self, number: int) -> Trigger:
        """The same trigger as the `number`th of its measure, from 1."""
        copy = self.model_copy()
        copy._number = number
        return copy


class NoChanges(Part):
    """A span of the wall clock without changes: weekly (`Fri 16:00`) or dated (`2026-12-24 16:00`)."""

    from_: str = Field(alias="from")
    to: str
    zone: str = "UTC"


class _OneOrList:
    """One mapping stands for a list of one; the schema says both."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        many: dict[str, Any] = handler(core)
        return {"anyOf": [many["items"], many]}


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, dict) else value


Periods = Annotated[tuple[NoChanges, ...], BeforeValidator(_listed), _OneOrList()]


class Windows(Part):
    dual: Duration = 7 * 86400.0
    retire: Duration = 30 * 86400.0
    spacing: Duration = 30.0
    no_changes: Periods = ()


class ChecklistItem(Part):
    """What a person answers for by `cutover sign NAME`. With `must` it is a gate of its phase."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    text: str = ""
    must: Truth = True


class RetireStep(Part):
    """Legacy's capacity falls to this share by `command`; `check` exits 0 where it has. Not before `after` of the retire window."""

    to: Share
    command: Argv
    check: Argv | None = None
    after: Duration = 0.0


class Retire(Part):
    steps: tuple[RetireStep, ...] = ()
    on: Literal["hosts", "engine"] = "engine"  # hosts: every host of legacy
    timeout: Duration = 300.0


class Capacity(Part):
    """A command that exits 0 where legacy can carry all of the load; run on every host of legacy, or where the engine runs."""

    command: Argv
    on: Literal["hosts", "engine"] = "engine"
    timeout: Duration = 30.0


class Lease(Part):
    """Where an engine elsewhere sees that this migration has one: a store with conditional writes, or a host. Default: the plan's first."""

    store: str | None = None
    host: str | None = None
    duration: Duration = 30.0  # without a sign of the holder, after which another may take it


class Operators(Part):
    """Of the `operators_group`: user names or uids. Who is in neither list observes."""

    acts: tuple[Text | Whole, ...] = ()
    observes: tuple[Text | Whole, ...] = ()


NotifyOn = Literal["hold", "breach", "rollback", "state", "seat", "clock", "window", "override", "approval", "health"]
WHAT_MATTERS: tuple[NotifyOn, ...] = ("hold", "breach", "rollback", "state", "seat", "clock", "window", "override", "approval")


class Notify(Part):
    """A webhook: `slack` for an incoming webhook of Slack and what takes the same, `json` for one of your own."""

    webhook: Text = Field(repr=False)
    kind: Literal["slack", "json"] = "slack"
    on: Annotated[tuple[NotifyOn, ...], Field(min_length=1)] = WHAT_MATTERS


class ReconfigureRule(Part):
    """`replace` a text, or what a regular expression `match`es, or the whole value of a `key`, `with` another. `key` narrows the other two as well."""

    replace: Text | None = None
    match: Text | None = None
    key: Text | None = None
    with_: str = Field(alias="with")


class ConfigTree(Part):
    """A file or folder of legacy's configuration beside the plan, and where target's is written."""

    from_: Text = Field(alias="from")
    to: Text


class Reconfigure(Part):
    """What `cutover reconfigure` writes anew for target. `keep`: texts of legacy that may stay."""

    files: tuple[ConfigTree, ...] = ()
    rules: tuple[ReconfigureRule, ...] = ()
    keep: tuple[Text, ...] = ()


class SecretCopy(Part):
    """A secret that the workloads need on target too. `from` and `to` are one reference each, whole; `cutover secrets --copy` copies it."""

    name: Name
    from_: Text = Field(alias="from", repr=False)
    to: Text = Field(repr=False)


def _version(value: Any) -> Any:
    if isinstance(value, bool) or value != 1:
        raise ValueError("expected version 1, the only one there is")
    return value


class Plan(Part):
    """The whole plan file. See `docs/plan.md` for what each field does."""

    version: Annotated[Whole, BeforeValidator(_version), WithJsonSchema({"const": 1})]
    name: MigrationName
    legacy: Side
    target: Side
    ssh: Ssh = Ssh()
    stores: dict[Name, Store] = Field(default_factory=dict)
    datasets: tuple[Dataset, ...] = ()
    transfer: Transfer = Transfer()
    workloads: tuple[Workload, ...] = ()
    routes: tuple[Route, ...] = ()
    measures: tuple[Measure, ...] = ()
    gates: dict[Phase, tuple[Gate, ...]] = Field(default_factory=dict)
    triggers: tuple[Trigger, ...] = ()
    windows: Windows = Windows()
    capacity: Capacity | None = None
    retire: Retire = Retire()
    checklist: dict[Phase, tuple[ChecklistItem, ...]] = Field(default_factory=dict)
    archive: tuple[Name, ...] = ()  # datasets that hold the final backup
    backups: tuple[Backup, ...] = ()
    operators_group: Text | None = None
    operators: Operators = Operators()
    two_person: tuple[Literal["advance", "phase", "arm", "shift", "commit", "retire", "decommission"], ...] = ()
    approve_within: Duration = 900.0
    notify: tuple[Notify, ...] = ()
    secrets: tuple[SecretCopy, ...] = ()
    quotas: tuple[Quota, ...] = ()  # what target's authorities have to grant
    docker_config: Text | None = None  # with the logins to registries; default: Docker's own of who runs `check --live`
    reconfigure: Reconfigure | None = None
    metrics_file: str | None = None
    lease: Lease | Literal["none"] = Lease()
    simulation: Truth = False  # true in the sandbox's own plan: shown on every screen

    def side(self, name: str) -> Side:
        """The side called `legacy` or `target`."""
        return self.legacy if name == "legacy" else self.target
