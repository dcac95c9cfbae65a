"""How the plan says that a workload is stopped and started: by systemd, Slurm, Kubernetes or commands."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from backends.plan.parts import Argv, Part, Short, Text, Truth, Whole
from backends.plan.units import Duration

WAYS = ("systemd", "slurm", "kubernetes", "command")

Unit = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]{0,250}$")]
SlurmName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}$")]
SlurmSignal = Annotated[str, StringConstraints(pattern=r"^(SIG)?[A-Z][A-Z0-9]{1,9}$")]
KubeName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
KubeKind = Literal["deployment", "statefulset", "job", "cronjob"]
On = Literal["hosts", "engine"]


class SystemdUnit(Short):
    """A unit on each host of the side; `user`: of the user's own manager (`systemctl --user`)."""

    unit: Unit
    user: Truth = False


class SlurmPartition(Short):
    """A partition. `jobs`, `reservation`: only those are ours; `signal` goes to what still runs when `timeout` is over."""

    partition: SlurmName
    queue: Literal["refuse", "hold"] = "refuse"
    jobs: tuple[Text, ...] = ()
    reservation: SlurmName | None = None
    signal: SlurmSignal | None = None
    grace: Duration = 60.0  # for what was signalled to end


class KubernetesObject(Short):
    """What is scaled to 0 (deployment, statefulset) or suspended (job, cronjob); as text NAMESPACE/KIND/NAME or KIND/NAME."""

    kind: KubeKind
    name: KubeName
    namespace: KubeName | None = None  # default: the context's
    kubeconfig: Text | None = None  # default: $KUBECONFIG, else ~/.kube/config
    context: Text | None = None  # default: the file's current one
    replicas: Whole | None = Field(default=None, ge=1)  # what is started where nothing was running before

    @classmethod
    def of_text(cls, text: str) -> dict[str, Any]:
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise ValueError("expected NAMESPACE/deployment/NAME or deployment/NAME")
        return dict(zip(("name", "kind", "namespace"), reversed(parts), strict=False))


class NewestCheckpoint(Part):
    """The step of the newest checkpoint of a dataset: of those that hold a file that `marker` (a glob of a file's name) fits."""

    dataset: str
    marker: Text


class Way(Part):
    """How a workload is stopped, started and asked: exactly one of `systemd`, `slurm`, `kubernetes`, `command`.

    `status` exits 0 when running, 3 when quiesced; `idle` 0 when nothing of it runs, 3 when something does; `step` prints the step of
    training that it is at, or would go on from.
    """

    systemd: SystemdUnit | None = None
    slurm: SlurmPartition | None = None
    kubernetes: KubernetesObject | None = None
    command: Argv | None = None
    resume: Argv | None = None
    status: Argv | None = None
    drain: Argv | None = None
    idle: Argv | None = None
    step: Argv | None = None
    checkpoint: NewestCheckpoint | None = None  # in place of `step`
    on: On = "hosts"
    timeout: Duration = 60.0

    @property
    def kind(self) -> str:
        """Which of the four it is; `none` where none is given."""
        return next((k for k in WAYS if getattr(self, k) is not None), "none")

    @property
    def may_stop_new_work(self) -> bool:
        """Can it be told to take nothing new while what runs goes on?"""
        is_cron = self.kubernetes is not None and self.kubernetes.kind == "cronjob"
        return self.slurm is not None or is_cron or self.drain is not None

    @property
    def limit(self) -> float:
        """Seconds that stopping it takes at most."""
        return self.timeout + (self.slurm.grace if self.slurm is not None and self.slurm.signal is not None else 0.0)


class Quiesce(Way):
    """One way for both sides, or a side's own under `legacy` and `target`."""

    legacy: Way | None = None
    target: Way | None = None

    def way(self, side: str) -> Way | None:
        """How it is done on this side."""
        own = self.legacy if side == "legacy" else self.target
        return own if own is not None else self if self.kind != "none" else None

    @property
    def ways(self) -> tuple[Way, ...]:
        """Every way that is written."""
        return tuple(w for w in (self, self.legacy, self.target) if w is not None and w.kind != "none")
