"""What a kind of training job is to the framework, and a job as the framework understands it. Pure.

A kind says which types of replicas it has, how its processes learn of each other, and when it has succeeded; names,
pods, services, counting, restarts and policies are the same for all kinds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar, cast

from ketch.kube.causes import duplicate, invalid, required, unsupported
from ketch.kube.errors import Cause
from ketch.kube.meta import KubeObject
from ketch.kube.types.containers import Container, EnvVar
from ketch.kube.types.pods import Pod, PodTemplateSpec
from ketch.training.jobs.types import MANAGED_BY, ReplicaSpec, ReplicaStatus, RunPolicy, TrainingJob

J = TypeVar("J", bound=TrainingJob)

ALWAYS, ON_FAILURE, NEVER, EXIT_CODE = "Always", "OnFailure", "Never", "ExitCode"
FIRST_RETRYABLE_CODE: Final = 128
"""ExitCode: from here on a signal ended the process, and it is started again."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """All processes of one type, defaults filled in."""

    role: str
    count: int
    template: PodTemplateSpec
    restart_policy: str


@dataclass(frozen=True, slots=True)
class Group(Generic[J]):
    """A job with its defaults, which are never stored: users read back what they wrote."""

    job: J
    policy: RunPolicy
    replicas: Sequence[Replicas]
    """In the order in which the kind names its types."""

    @property
    def name(self) -> str:
        """The job's name."""
        return self.job.metadata.name

    @property
    def namespace(self) -> str:
        """The job's namespace."""
        return self.job.metadata.namespace

    @property
    def total(self) -> int:
        """How many pods the job has."""
        return sum(each.count for each in self.replicas)

    def of(self, role: str) -> Replicas | None:
        """The replicas of a type."""
        return next((each for each in self.replicas if each.role == role), None)

    def count(self, role: str) -> int:
        """How many replicas of a type there are."""
        found = self.of(role)
        return found.count if found else 0

    def host(self, role: str, index: int) -> str:
        """The name by which a replica is reached within the namespace; also its pod's and its service's name."""
        return f"{self.name}-{role.lower()}-{index}"


@dataclass(frozen=True, slots=True)
class Ends:
    """How replicas ended; ``first_succeeded``: the worker with index 0 has ended well."""

    statuses: Mapping[str, ReplicaStatus]
    first_succeeded: bool = False

    def succeeded(self, role: str) -> int:
        """How many of a type have ended well."""
        return self.statuses.get(role, ReplicaStatus()).succeeded

    def all_of(self, group: Group[Any], role: str) -> bool:
        """Whether every replica of a type has ended well."""
        count = group.count(role)
        return 0 < count <= self.succeeded(role)


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """Between how many replicas of the elastic type a job may be, and by which metrics (as autoscaling/v2 has them)."""

    low: int
    high: int
    metrics: Sequence[Mapping[str, Any]]


class JobKind(Generic[J]):
    """One kind. Subclasses are values without state."""

    kind: ClassVar[type[Any]]
    roles: ClassVar[Sequence[str]]
    """Types of replicas, in the order in which ranks are counted."""

    masters: ClassVar[Sequence[str]] = ()
    """Types whose pods lead the job; without any of them the first worker does."""

    single: ClassVar[Sequence[str]] = ()
    """Types of which there is one replica, where they are written at all."""

    dispensable: ClassVar[Sequence[str]] = ()
    """Those of them of which there may be none."""

    container: ClassVar[str]
    port_name: ClassVar[str]
    port: ClassVar[int]
    restart_policy: ClassVar[str] = NEVER
    replicas_field: ClassVar[str]
    """The spec's attribute that holds the replicas, and how it is written."""

    replicas_path: ClassVar[str]
    elastic_role: ClassVar[str] = ""
    """The type that ``kubectl scale`` changes; empty where it may not."""

    managers: ClassVar[Sequence[str]] = (MANAGED_BY,)
    """By which names a job may say that this controller manages it."""

    services_per_replica: ClassVar[bool] = True
    """Whether each pod is reached by a service of its own."""

    group_type: ClassVar[type[Group[Any]]] = Group
    """How the kind names its replicas."""

    @property
    def name(self) -> str:
        """The kind's name."""
        return cast("str", self.kind.resource.kind)

    @property
    def controller(self) -> str:
        """The name under which its events say who made them."""
        return f"{self.name.lower()}-controller"

    @property
    def operator(self) -> str:
        """The name under which its pods say who made them."""
        return self.controller

    def replica_specs(self, job: J) -> Mapping[str, ReplicaSpec]:
        """The replicas as the user wrote them."""
        return cast("Mapping[str, ReplicaSpec]", getattr(job.spec, self.replicas_field))

    def role_of(self, written: str) -> str | None:
        """The type that a user means: "worker", "WORKER" and "Worker" are the same."""
        return next((role for role in self.roles if role.lower() == written.lower()), None)

    def understand(self, job: J) -> Group[J]:
        """The job with its defaults."""
        written = {self.role_of(name): spec for name, spec in self.replica_specs(job).items()}
        replicas = [
            Replicas(
                role,
                self.default_count(role) if spec.replicas is None else spec.replicas,
                spec.template,
                spec.restart_policy or self.default_policy(role),
            )
            for role in self.roles
            if (spec := written.get(role)) is not None
        ]
        return self.group_type(job, self.policy_of(job), replicas)

    def policy_of(self, job: J) -> RunPolicy:
        """How the job is to be run."""
        return job.spec.run_policy

    def concerns(self, job: J) -> bool:  # noqa: ARG002  # for those who override it
        """Whether the job is this kind's, where one resource has jobs of several."""
        return True

    def default_count(self, role: str) -> int:  # noqa: ARG002  # for those who override it
        """How many replicas there are of a type that says no number."""
        return 1

    def default_policy(self, role: str) -> str:  # noqa: ARG002  # for those who override it
        """What happens when a replica fails that says nothing about it."""
        return self.restart_policy

    def is_master(self, group: Group[J], role: str, index: int) -> bool:
        """Whether this replica leads the job: its logs are the job's."""
        if any(each.role in self.masters and each.count for each in group.replicas):
            return role in self.masters
        return index == 0 and role == self.roles[-1 if not self.masters else self.roles.index("Worker")]

    def job_role(self, group: Group[J], role: str, index: int) -> str:
        """What a pod's label says of its part in the job; empty for no label."""
        return "master" if self.is_master(group, role, index) else ""

    def port_of(self, replicas: Replicas) -> int:
        """Where a replica listens: the port that its container names, or the kind's."""
        main = self.main(replicas.template)
        ports = main.ports if main else ()
        return next((each.container_port for each in ports if each.name == self.port_name), self.port)

    def main(self, template: PodTemplateSpec) -> Container | None:
        """The container that trains."""
        return next((each for each in template.spec.containers if each.name == self.container), None)

    def environment(self, group: Group[J], role: str, index: int) -> Sequence[EnvVar]:
        """What a replica's containers are told of the others."""
        raise NotImplementedError

    def surroundings(self, group: Group[J], pods: Sequence[Pod]) -> Sequence[KubeObject]:  # noqa: ARG002
        """Objects that the job's pods need beside themselves, as they should be now that these pods are there."""
        return ()

    def autoscaling(self, group: Group[J]) -> Autoscaling | None:  # noqa: ARG002  # for those who override it
        """How the elastic type's number follows its use; None where it does not."""
        return None

    def is_elastic(self, group: Group[J]) -> bool:  # noqa: ARG002  # for those who override it
        """Whether its processes may come and go."""
        return False

    def dressed(self, group: Group[J], role: str, index: int, pod: Pod) -> Pod:  # noqa: ARG002
        """A replica's pod with what only this kind gives it."""
        return pod

    def succeeded(self, group: Group[J], ends: Ends) -> bool:
        """Whether the job has."""
        raise NotImplementedError

    def why_failed(self, group: Group[J], role: str, failed: Sequence[Pod]) -> str:
        """What to tell of a job that ends with these pods of one type."""
        return f"{self.name} {group.name} is failed because {len(failed)} {role} replica(s) failed."

    def check(self, job: J) -> Iterable[Cause]:  # noqa: ARG002  # for those who override it
        """What is wrong with a job beyond what the framework finds."""
        return ()

    def warn(self, job: J) -> Iterable[str]:  # noqa: ARG002  # for those who override it
        """What of a job should be written otherwise."""
        return ()

    def check_change(self, job: J, old: J) -> Iterable[Cause]:  # noqa: ARG002  # for those who override it
        """What may not have changed."""
        return ()

    def check_replicas(self, job: J) -> Iterable[Cause]:
        """What is wrong with the replicas, for every kind."""
        path = f"spec.{self.replicas_path}"
        specs = self.replica_specs(job)
        if not specs:
            yield required(path, f"a {self.name} needs at least one of {', '.join(self.roles)}")
        seen: set[str] = set()
        for written, spec in specs.items():
            here, role = f"{path}[{written}]", self.role_of(written)
            if role is None:
                yield unsupported(here, written, list(self.roles))
                continue
            if role in seen:
                yield duplicate(here, written)
                continue
            seen.add(role)
            if role in self.single and spec.replicas not in (None, 1, *([0] if role in self.dispensable else [])):
                number = "at most" if role in self.dispensable else "exactly"
                yield invalid(f"{here}.replicas", spec.replicas, f"there is {number} one {role}")
            containers = spec.template.spec.containers
            if not containers:
                yield required(f"{here}.template.spec.containers", "must have at least one container")
                continue
            for index, container in enumerate(containers):
                if not container.image:
                    yield required(f"{here}.template.spec.containers[{index}].image", "must not be empty")
            if self.main(spec.template) is None:
                message = f'must have at least one container with name "{self.container}"'
                yield required(f"{here}.template.spec.containers", message)


def variable(name: str, value: object) -> EnvVar:
    """An environment variable."""
    return EnvVar(name=name, value=str(value))
