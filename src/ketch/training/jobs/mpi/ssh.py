"""kubeflow.org/v2beta1: the launcher is a batch Job that reaches workers over ssh, with keys of the job. Pure."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final

import msgspec

from ketch.kube.causes import invalid, required, unsupported
from ketch.kube.errors import Cause
from ketch.kube.meta import KubeObject, ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.types.batch import Job, JobSpec
from ketch.kube.types.containers import Container, EnvVar, VolumeMount
from ketch.kube.types.core import Secret, Service
from ketch.kube.types.pods import Pod, PodDNSConfig, PodSpec, PodTemplateSpec
from ketch.kube.types.services import HEADLESS, ServiceSpec
from ketch.kube.types.volumes import SecretVolume, Volume
from ketch.training.jobs.desired import job_labels, pod_of
from ketch.training.jobs.framework import NEVER, ON_FAILURE, Ends, Group, variable
from ketch.training.jobs.mpi import files
from ketch.training.jobs.mpi.exec import MPI, running, workers_of
from ketch.training.jobs.mpi.pods import (
    CONFIG_MOUNT,
    EXECUTABLE,
    NO_DEVICES,
    READABLE,
    app_meta,
    config_map,
    config_volume,
    slots_of,
    with_first,
    with_more,
)
from ketch.training.jobs.mpi.types import LAUNCHER, WHEN_READY, WORKER, MPIJob
from ketch.training.jobs.types import ReplicaSpec, RunPolicy
from ketch.training.keys import SECRET_TYPE
from ketch.training.mpirun import HOSTFILE, IMPLEMENTATIONS, KEY_FILES, SSH_PATH, hostfile, over_ssh

OPERATOR: Final = "mpi-operator"
_SSH_VOLUME: Final = "ssh-auth"
_OWNER_ONLY: Final = 0o600
_SSHD: Final = ("/usr/sbin/sshd", "-De")
_RESTARTS: Final = (NEVER, ON_FAILURE)
_CLUSTER_FIRST_ON_HOST: Final = "ClusterFirstWithHostNet"


class MPIOverSSH(MPI):
    """Read by Open MPI (OMPI_*, PRTE_*), Intel MPI (I_MPI_*) and MPICH (HYDRA_*)."""

    managers: ClassVar = ("kubeflow.org/mpi-operator",)

    @property
    def controller(self) -> str:
        """mpi-operator's name for itself in events."""
        return "mpi-job-controller"

    @property
    def operator(self) -> str:
        """What its pods' labels say."""
        return OPERATOR

    def concerns(self, job: MPIJob) -> bool:
        """Those that name their implementation, as all of v2beta1 do."""
        return bool(job.spec.mpi_implementation)

    def policy_of(self, job: MPIJob) -> RunPolicy:
        """As it is written; a launcher that waits for its workers cannot be placed together with them."""
        policy, scheduling = job.spec.run_policy, job.spec.run_policy.scheduling_policy
        if scheduling is None or scheduling.min_available or job.spec.launcher_creation_policy != WHEN_READY:
            return policy
        scheduling = msgspec.structs.replace(scheduling, min_available=self._workers(job))
        return msgspec.structs.replace(policy, scheduling_policy=scheduling)

    def _workers(self, job: MPIJob) -> int:
        return sum(each.replicas or 0 for role, each in self.replica_specs(job).items() if self.role_of(role) == WORKER)

    def default_policy(self, role: str) -> str:
        """A launcher that fails is tried again."""
        return ON_FAILURE if role == LAUNCHER else NEVER

    def job_role(self, group: Group[MPIJob], role: str, index: int) -> str:  # noqa: ARG002
        """launcher or worker."""
        return role.lower()

    def surroundings(self, group: Group[MPIJob], pods: Sequence[Pod]) -> Sequence[KubeObject]:
        """The job's files, the service below which its pods have names, and the keys."""
        job = group.job
        data = {
            HOSTFILE: hostfile(
                [_address(group, each) for each in _hosts(group)], slots_of(job), job.spec.mpi_implementation
            ),
            files.DISCOVER: files.discover_hosts(
                [_address(group, each) for each in (*_launching_host(group), *running(group, pods))]
            ),
        }
        # Pods look for each other before they are ready.
        service = ServiceSpec(cluster_ip=HEADLESS, selector=job_labels(self, group), publish_not_ready_addresses=True)
        made = (
            config_map(group, data),
            Service(metadata=app_meta(group), spec=service),
            Secret(metadata=app_meta(group, "-ssh"), type=SECRET_TYPE),
        )
        return [controlled_by(job, each) for each in made]

    def dressed(self, group: Group[MPIJob], role: str, index: int, pod: Pod) -> Pod:
        """With a name below the service, and the keys."""
        name = group.host(role, index)
        spec = msgspec.structs.replace(pod.spec, hostname=name, subdomain=group.name)
        if spec.host_network:
            spec = msgspec.structs.replace(spec, dns_policy=_CLUSTER_FIRST_ON_HOST)
        mount = VolumeMount(name=_SSH_VOLUME, mount_path=group.job.spec.ssh_auth_mount_path or SSH_PATH)
        dress = self._launching if role == LAUNCHER else self._working
        return msgspec.structs.replace(pod, spec=dress(group, spec, mount))

    def _launching(self, group: Group[MPIJob], spec: PodSpec, mount: VolumeMount) -> PodSpec:
        modes = {HOSTFILE: READABLE, files.DISCOVER: EXECUTABLE}
        environment = tuple(_launcher_environment(group.job))
        volumes = (_keys(group), config_volume(group, modes))
        return with_first(spec, lambda first: with_more(first, environment, mount, CONFIG_MOUNT), volumes)

    def _working(self, group: Group[MPIJob], spec: PodSpec, mount: VolumeMount) -> PodSpec:
        domain = f"{group.name}.{group.namespace}.svc.cluster.local"
        resolver = spec.dns_config or PodDNSConfig()
        resolver = msgspec.structs.replace(resolver, searches=(*resolver.searches, domain))

        def changed(first: Container) -> Container:
            serves = {} if first.command or first.args else {"command": _SSHD}
            return with_more(first, (variable("K_MPI_JOB_ROLE", "worker"),), mount, **serves)

        return with_first(msgspec.structs.replace(spec, dns_config=resolver), changed, [_keys(group)])

    def launcher_of(self, group: Group[MPIJob]) -> Job:
        """The Job whose pod runs mpirun."""
        replicas = group.of(LAUNCHER)
        assert replicas is not None  # admission sees to it
        pod, policy = pod_of(self, group, replicas, 0), group.policy
        spec = JobSpec(
            backoff_limit=policy.backoff_limit,
            active_deadline_seconds=policy.active_deadline_seconds,
            ttl_seconds_after_finished=policy.ttl_seconds_after_finished,
            template=PodTemplateSpec(
                metadata=ObjectMeta(labels=pod.metadata.labels, annotations=pod.metadata.annotations), spec=pod.spec
            ),
        )
        return controlled_by(group.job, Job(metadata=app_meta(group, "-launcher"), spec=spec))

    def succeeded(self, group: Group[MPIJob], ends: Ends) -> bool:  # noqa: ARG002
        """The launcher."""
        return ends.succeeded(LAUNCHER) > 0

    def check(self, job: MPIJob) -> Iterable[Cause]:
        """mpi-operator's rules."""
        spec = job.spec
        if LAUNCHER not in {self.role_of(name) for name in spec.mpi_replica_specs}:
            yield required("spec.mpiReplicaSpecs[Launcher]", "must have Launcher replica spec")
        for name, replicas in spec.mpi_replica_specs.items():
            yield from self._check_replica(f"spec.mpiReplicaSpecs[{name}]", self.role_of(name), replicas)
        if not spec.ssh_auth_mount_path:
            yield required("spec.sshAuthMountPath", "must have a mount path for SSH credentials")
        elif not spec.ssh_auth_mount_path.startswith("/"):
            yield invalid("spec.sshAuthMountPath", spec.ssh_auth_mount_path, "must be an absolute path")
        scheduling, workers = spec.run_policy.scheduling_policy, self._workers(job)
        waits = spec.launcher_creation_policy == WHEN_READY
        if waits and scheduling is not None and (scheduling.min_available or 0) > workers:
            message = f"must not be more than the {workers} workers for which the launcher waits"
            yield invalid("spec.runPolicy.schedulingPolicy.minAvailable", scheduling.min_available, message)
        if spec.mpi_implementation not in IMPLEMENTATIONS:
            yield unsupported("spec.mpiImplementation", spec.mpi_implementation, IMPLEMENTATIONS)

    def _check_replica(self, path: str, role: str | None, replicas: ReplicaSpec) -> Iterable[Cause]:
        if replicas.restart_policy and replicas.restart_policy not in _RESTARTS:
            yield unsupported(f"{path}.restartPolicy", replicas.restart_policy, _RESTARTS)
        if role == WORKER and replicas.replicas == 0:
            yield invalid(f"{path}.replicas", 0, "must be greater than or equal to 1")


def _launching_host(group: Group[MPIJob]) -> Sequence[str]:
    """The launcher, where it is a host of processes too."""
    return [group.host(LAUNCHER, 0)] if group.job.spec.run_launcher_as_worker else []


def _hosts(group: Group[MPIJob]) -> Sequence[str]:
    return [*_launching_host(group), *workers_of(group)]


def _address(group: Group[MPIJob], host: str) -> str:
    return f"{host}.{group.name}.{group.namespace}.svc"


def _launcher_environment(job: MPIJob) -> Iterable[EnvVar]:
    yield variable("K_MPI_JOB_ROLE", "launcher")
    yield from over_ssh(job.spec.mpi_implementation, slots_of(job))
    if not job.spec.run_launcher_as_worker:
        yield from NO_DEVICES


def _keys(group: Group[MPIJob]) -> Volume:
    at_root = (group.job.spec.ssh_auth_mount_path or SSH_PATH) == SSH_PATH
    source = SecretVolume(
        secret_name=f"{group.name}-ssh", items=KEY_FILES, default_mode=_OWNER_ONLY if at_root else None
    )
    return Volume(name=_SSH_VOLUME, secret=source)
