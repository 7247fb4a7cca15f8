"""The MPI policy: a launcher that runs ``mpirun``, nodes that it reaches over ssh. Pure; names are Trainer 2.3's.

As its documentation has it, ``numNodes`` are the hosts on which processes run. With ``runLauncherAsNode`` the launcher
is the first of them; the nodes' Job has one pod at least, which is no host when the launcher is the only one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ketch.kube.meta import KubeObject, ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.types.containers import Container, EnvVar, ResourceRequirements, VolumeMount
from ketch.kube.types.core import ConfigMap, Secret
from ketch.kube.types.pods import PodSpec
from ketch.kube.types.volumes import ConfigMapVolume, KeyToPath, SecretVolume, Volume
from ketch.training.keys import SECRET_TYPE, new_pair
from ketch.training.mpirun import FOLDER, HOSTFILE, KEY_FILES, SSH_PATH, hostfile, over_ssh
from ketch.training.trainjobs.policies import NODE, gpus_of
from ketch.training.trainjobs.types import MPIPolicy, TrainJob

LAUNCHER: Final = "launcher"
"""The replicated job that runs mpirun."""

_KEYS: Final = "mpi-ssh-auth"
_HOSTFILE: Final = "mpi-hostfile"
_GROUP_MAY_READ: Final = 0o640
_READABLE: Final = 0o444


@dataclass(frozen=True, slots=True)
class MPI:
    """One job under the policy: over how many nodes it runs, and what each of them has."""

    job: TrainJob
    policy: MPIPolicy
    nodes: int
    resources: ResourceRequirements
    trainer: str = LAUNCHER
    """The replicated job that the runtime calls its trainer."""

    @property
    def launcher_trains(self) -> bool:
        """Whether the launcher is a host of processes."""
        return bool(self.policy.run_launcher_as_node) and self.trainer == LAUNCHER

    @property
    def slots(self) -> int:
        """Processes per host: the job's word, the runtime's, and where that is one, a GPU each."""
        trainer = self.job.spec.trainer
        if trainer is not None and trainer.num_proc_per_node is not None:
            return trainer.num_proc_per_node
        written = self.policy.num_proc_per_node or 1
        return max(gpus_of(self.resources), 1) if written == 1 else written

    def count(self, replicated: str) -> int:
        """How many pods a replicated job has."""
        if replicated != NODE:
            return 1
        return max(self.nodes - self.launcher_trains, 1)

    @property
    def hosts(self) -> Sequence[str]:
        """Where processes run, in order."""
        first = [self._host(LAUNCHER, 0)] if self.launcher_trains else []
        return [*first, *(self._host(NODE, index) for index in range(self.nodes - len(first)))]

    def _host(self, replicated: str, index: int) -> str:
        name = self.job.metadata.name
        return f"{name}-{replicated}-0-{index}.{name}"

    def environment(self, replicated: str) -> Sequence[EnvVar]:
        """What a pod is told: only the launcher needs to know."""
        return over_ssh(self.policy.mpi_implementation, self.slots) if replicated == LAUNCHER else ()

    def dressed(self, replicated: str, spec: PodSpec) -> PodSpec:
        """A pod with the keys, the launcher with the hostfile too."""
        name, is_launcher = self.job.metadata.name, replicated == LAUNCHER
        secret = SecretVolume(secret_name=f"{name}-{_KEYS}", default_mode=_GROUP_MAY_READ, items=KEY_FILES)
        mounts = [VolumeMount(name=_KEYS, mount_path=self.policy.ssh_auth_mount_path or SSH_PATH)]
        volumes = [Volume(name=_KEYS, secret=secret)]
        if is_launcher:
            items = (KeyToPath(key=HOSTFILE, path=HOSTFILE, mode=_READABLE),)
            volumes.append(Volume(name=_HOSTFILE, config_map=ConfigMapVolume(name=f"{name}-{_HOSTFILE}", items=items)))
            mounts.append(VolumeMount(name=_HOSTFILE, mount_path=FOLDER))

        def changed(container: Container) -> Container:
            if container.name != NODE:
                return container
            return msgspec.structs.replace(container, volume_mounts=(*container.volume_mounts, *mounts))

        return msgspec.structs.replace(
            spec, containers=tuple(map(changed, spec.containers)), volumes=(*spec.volumes, *volumes)
        )

    def objects(self) -> Sequence[KubeObject]:
        """What must be there before the pods; a Secret that is there keeps its keys."""
        name, namespace = self.job.metadata.name, self.job.metadata.namespace
        said = hostfile(self.hosts, self.slots, self.policy.mpi_implementation)
        made = (
            Secret(
                metadata=ObjectMeta(name=f"{name}-{_KEYS}", namespace=namespace),
                type=SECRET_TYPE,
                data=new_pair(),
                immutable=True,
            ),
            ConfigMap(metadata=ObjectMeta(name=f"{name}-{_HOSTFILE}", namespace=namespace), data={HOSTFILE: said}),
        )
        return [controlled_by(self.job, each) for each in made]
