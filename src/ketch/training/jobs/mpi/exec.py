"""kubeflow.org/v1: the launcher is a pod that reaches workers through the API, as ``kubectl exec`` does. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec

from ketch.kube.causes import forbidden, immutable, invalid, required
from ketch.kube.errors import Cause
from ketch.kube.meta import KubeObject
from ketch.kube.owners import controlled_by
from ketch.kube.types.containers import Container, EnvVar, ResourceRequirements, VolumeMount
from ketch.kube.types.core import ServiceAccount
from ketch.kube.types.pods import Pod, PodTemplateSpec
from ketch.kube.types.rbac import GROUP, PolicyRule, Role, RoleBinding, RoleReference, Subject
from ketch.kube.types.volumes import EmptyDirVolume, Volume
from ketch.training.jobs.decisions import exit_code
from ketch.training.jobs.framework import Ends, Group, JobKind, variable
from ketch.training.jobs.mpi import files
from ketch.training.jobs.mpi.pods import (
    CONFIG_MOUNT,
    EXECUTABLE,
    NO_DEVICES,
    READABLE,
    app_meta,
    config_map,
    config_volume,
    launcher_has_devices,
    slots_of,
    with_first,
    with_more,
)
from ketch.training.jobs.mpi.types import LAUNCHER, WORKER, MPIJob
from ketch.training.jobs.types import RunPolicy
from ketch.training.mpirun import HOSTFILE, hostfile, over_exec

DELIVERY_IMAGE: Final = "kubeflow/kubectl-delivery:latest"
"""Its containers put ``kubectl`` where ``kubexec.sh`` looks for it, and end when the workers are ready."""

_KUBECTL_VOLUME: Final = "mpi-job-kubectl"
_KUBECTL_MOUNT: Final = VolumeMount(name=_KUBECTL_VOLUME, mount_path=files.KUBECTL_FOLDER)
_DELIVERY_NEEDS: Final[Mapping[str, str]] = {"cpu": "100m", "memory": "512Mi", "ephemeral-storage": "5Gi"}
_FOREVER: Final = (("sleep",), ("365d",))
_ENVIRONMENT: Final = over_exec(files.KUBEXEC_PATH)
_OF_V2: Final = {
    "run_launcher_as_worker": "runLauncherAsWorker",
    "ssh_auth_mount_path": "sshAuthMountPath",
    "launcher_creation_policy": "launcherCreationPolicy",
}


@dataclass(frozen=True, slots=True)
class MPIGroup(Group[MPIJob]):
    """An MPIJob with its defaults."""

    def host(self, role: str, index: int) -> str:
        """There is one launcher, so its name has no number."""
        return f"{self.name}-launcher" if role == LAUNCHER else f"{self.name}-worker-{index}"


class MPI(JobKind[MPIJob]):
    """Read by Open MPI (OMPI_*, PRTE_*) and Intel MPI (I_MPI_*)."""

    kind = MPIJob
    roles: ClassVar = (LAUNCHER, WORKER)
    masters: ClassVar = (LAUNCHER,)
    single: ClassVar = (LAUNCHER,)
    container = "mpi"
    port_name, port = "mpi-port", 9999
    replicas_field, replicas_path = "mpi_replica_specs", "mpiReplicaSpecs"
    services_per_replica = False
    group_type = MPIGroup

    def concerns(self, job: MPIJob) -> bool:
        """Those that name no implementation."""
        return not job.spec.mpi_implementation

    def policy_of(self, job: MPIJob) -> RunPolicy:
        """Which pods to remove may stand beside the policy as well, as in earlier versions."""
        policy = job.spec.run_policy
        cleaning = policy.clean_pod_policy or job.spec.clean_pod_policy
        return msgspec.structs.replace(policy, clean_pod_policy=cleaning)

    def default_count(self, role: str) -> int:
        """A launcher; workers are named by number."""
        return 1 if role == LAUNCHER else 0

    def main(self, template: PodTemplateSpec) -> Container | None:
        """The first."""
        return next(iter(template.spec.containers), None)

    def environment(self, group: Group[MPIJob], role: str, index: int) -> Sequence[EnvVar]:  # noqa: ARG002
        """Nothing that all containers are told."""
        return ()

    def surroundings(self, group: Group[MPIJob], pods: Sequence[Pod]) -> Sequence[KubeObject]:
        """The job's files, and who the launcher is."""
        name, slots = group.host(LAUNCHER, 0), slots_of(group.job)
        own = [name] if launcher_has_devices(group) else []
        data = {
            HOSTFILE: hostfile([*own, *workers_of(group)], slots),
            files.KUBEXEC: files.kubexec(group.job.spec.main_container),
            files.DISCOVER: files.discover_hosts([f"{each}:{slots}" for each in (*own, *running(group, pods))]),
        }
        meta = app_meta(group, "-launcher")
        rules = (
            PolicyRule(verbs=("get", "list", "watch"), api_groups=("",), resources=("pods",)),
            # A WebSocket begins with GET.
            PolicyRule(
                verbs=("create", "get"),
                api_groups=("",),
                resources=("pods/exec",),
                resource_names=tuple(workers_of(group)),
            ),
        )
        subject = Subject(kind="ServiceAccount", name=name, namespace=group.namespace)
        reference = RoleReference(api_group=GROUP, kind="Role", name=name)
        made = (
            config_map(group, data),
            ServiceAccount(metadata=meta),
            Role(metadata=meta, rules=rules),
            RoleBinding(metadata=meta, subjects=(subject,), role_ref=reference),
        )
        return [controlled_by(group.job, each) for each in made]

    def dressed(self, group: Group[MPIJob], role: str, index: int, pod: Pod) -> Pod:  # noqa: ARG002
        """The launcher with a remote shell; workers that wait for what it starts in them."""
        spec = self._launcher(group, pod) if role == LAUNCHER else self._worker(group, pod)
        return msgspec.structs.replace(pod, spec=spec)

    def _launcher(self, group: Group[MPIJob], pod: Pod) -> Any:
        environment = _ENVIRONMENT if launcher_has_devices(group) else (*_ENVIRONMENT, *NO_DEVICES)
        modes = {files.KUBEXEC: EXECUTABLE, HOSTFILE: READABLE, files.DISCOVER: EXECUTABLE}
        volumes = (Volume(name=_KUBECTL_VOLUME, empty_dir=EmptyDirVolume()), config_volume(group, modes))
        spec = with_first(pod.spec, lambda first: with_more(first, environment, _KUBECTL_MOUNT, CONFIG_MOUNT), volumes)
        delivery = Container(
            name="kubectl-delivery",
            image=DELIVERY_IMAGE,
            image_pull_policy="IfNotPresent",
            env=(variable("TARGET_DIR", files.KUBECTL_FOLDER), variable("NAMESPACE", group.namespace)),
            volume_mounts=(_KUBECTL_MOUNT, CONFIG_MOUNT),
            resources=ResourceRequirements(limits=_DELIVERY_NEEDS, requests=_DELIVERY_NEEDS),
        )
        return msgspec.structs.replace(
            spec, service_account_name=group.host(LAUNCHER, 0), init_containers=(*spec.init_containers, delivery)
        )

    def _worker(self, group: Group[MPIJob], pod: Pod) -> Any:
        def changed(first: Container) -> Container:
            waits = {} if first.command else {"command": _FOREVER[0], "args": _FOREVER[1]}
            return with_more(first, (), CONFIG_MOUNT, **waits)

        # Open MPI looks for its remote shell on every host.
        return with_first(pod.spec, changed, [config_volume(group, {files.KUBEXEC: EXECUTABLE})])

    def succeeded(self, group: Group[MPIJob], ends: Ends) -> bool:
        """The launcher."""
        return ends.all_of(group, LAUNCHER)

    def why_failed(self, group: Group[MPIJob], role: str, failed: Sequence[Pod]) -> str:
        """With the exit code: mpirun's is that of the rank that failed."""
        code, said = exit_code(self, failed[0]), super().why_failed(group, role, failed)
        return said if code is None else f"{said.removesuffix('.')}: exit code {code}."

    def check(self, job: MPIJob) -> Iterable[Cause]:
        """A launcher must be there, and what is named must be."""
        if LAUNCHER not in {self.role_of(name) for name in job.spec.mpi_replica_specs}:
            yield required("spec.mpiReplicaSpecs[Launcher]", "must have Launcher replica spec")
        for attribute, name in _OF_V2.items():
            if getattr(job.spec, attribute):
                yield forbidden(f"spec.{name}", "is for jobs that set mpiImplementation (kubeflow.org/v2beta1)")
        yield from self._check_main_container(job)

    def check_change(self, job: MPIJob, old: MPIJob) -> Iterable[Cause]:
        """A job keeps its shape."""
        if bool(job.spec.mpi_implementation) != bool(old.spec.mpi_implementation):
            yield immutable("spec.mpiImplementation", job.spec.mpi_implementation)

    def _check_main_container(self, job: MPIJob) -> Iterable[Cause]:
        name = job.spec.main_container
        workers = next((spec for role, spec in self.replica_specs(job).items() if self.role_of(role) == WORKER), None)
        if name and workers and name not in {each.name for each in workers.template.spec.containers}:
            yield invalid("spec.mainContainer", name, "no container of the workers has this name")


def workers_of(group: Group[MPIJob]) -> Sequence[str]:
    """The workers' names."""
    return [group.host(WORKER, index) for index in range(group.count(WORKER))]


def running(group: Group[MPIJob], pods: Sequence[Pod]) -> Sequence[str]:
    """The workers that run, in order."""
    up = {
        each.metadata.name for each in pods if each.status.phase == "Running" and not each.metadata.deletion_timestamp
    }
    return [name for name in workers_of(group) if name in up]
