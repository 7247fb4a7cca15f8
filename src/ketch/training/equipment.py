"""What jobs of every kind are given beside what their kind says: checkpoints, the way to the status endpoint, a client.

Pure; reconcilers ask it for each pod or JobSet that they make, and for the objects that must be there before.
"""

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from ketch.kube.meta import KubeObject, ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.types.batch import Job
from ketch.kube.types.containers import Container, VolumeMount
from ketch.kube.types.core import ConfigMap
from ketch.kube.types.pods import Pod, PodSpec
from ketch.kube.types.volumes import ConfigMapVolume, Volume
from ketch.training.checkpoints.contract import wish_of
from ketch.training.checkpoints.volumes import claim_of, with_checkpoints
from ketch.training.client import MODULE, START, contents
from ketch.training.containers import in_containers
from ketch.training.jobsets.types import JobSet, ReplicatedJob
from ketch.training.progress.telling import StatusAddress, reporting

CLIENT: Final = "training.ketch.dev/client"
"""A job's annotation: "true" gives its processes ``ketch_training``; jobs that keep checkpoints have it anyhow."""

CLIENT_FOLDER: Final = "/ketch/training"
_CLIENT_VOLUME: Final = "ketch-training"
_SHELL: Final = "sh"


class Equipment:
    """Where ``address`` is None, no status endpoint answers and nothing is told of one."""

    def __init__(self, address: StatusAddress | None = None) -> None:
        self._address = address

    def pod(self, job: KubeObject, pod: Pod, container: str) -> Pod:
        """One pod of the job with its equipment in the ``container`` that trains."""
        return msgspec.structs.replace(pod, spec=self._equipped(job, pod.spec, (container,)))

    def batch_job(self, job: KubeObject, launcher: Job, container: str) -> Job:
        """A batch Job that launches the job's processes, with its equipment in the ``container`` that does."""
        template = launcher.spec.template
        template = msgspec.structs.replace(template, spec=self._equipped(job, template.spec, (container,)))
        return msgspec.structs.replace(launcher, spec=msgspec.structs.replace(launcher.spec, template=template))

    def jobset(self, job: KubeObject, jobset: JobSet, container: str) -> JobSet:
        """The job's JobSet with its equipment in every ``container`` that trains, or launches those that do."""

        def changed(replicated: ReplicatedJob) -> ReplicatedJob:
            template = replicated.template.spec.template
            if all(each.name != container for each in template.spec.containers):
                return replicated
            pods = msgspec.structs.replace(template, spec=self._equipped(job, template.spec, (container,)))
            spec = msgspec.structs.replace(replicated.template.spec, template=pods)
            return msgspec.structs.replace(replicated, template=msgspec.structs.replace(replicated.template, spec=spec))

        steps = tuple(map(changed, jobset.spec.replicated_jobs))
        return msgspec.structs.replace(jobset, spec=msgspec.structs.replace(jobset.spec, replicated_jobs=steps))

    def objects(self, job: KubeObject) -> Sequence[KubeObject]:
        """What must be there before the job's pods."""
        name, namespace = job.metadata.name, job.metadata.namespace
        found = [] if self._address is None else list(self._address.objects(job))
        wish = wish_of(name, job.metadata.annotations)
        if wish is not None and not wish.claim:
            claim = claim_of(name, namespace, wish)
            found.append(claim if wish.retain else controlled_by(job, claim))
        if _has_client(job):
            files = {each: contents(each) for each in (MODULE, START)}
            metadata = ObjectMeta(name=_client_name(job), namespace=namespace)
            found.append(controlled_by(job, ConfigMap(metadata=metadata, data=files)))
        return found

    def _equipped(self, job: KubeObject, spec: PodSpec, names: Collection[str]) -> PodSpec:
        if self._address is not None:
            spec = reporting(spec, names, job, self._address)
        if (wish := wish_of(job.metadata.name, job.metadata.annotations)) is not None:
            spec = with_checkpoints(spec, names, job.metadata.name, wish)
        return _with_client(spec, names, job) if _has_client(job) else spec


def _has_client(job: KubeObject) -> bool:
    annotations = job.metadata.annotations
    return annotations.get(CLIENT) == "true" or wish_of(job.metadata.name, annotations) is not None


def _client_name(job: KubeObject) -> str:
    return f"{job.metadata.name}-ketch-client"


def _with_client(spec: PodSpec, names: Collection[str], job: KubeObject) -> PodSpec:
    """A command that a container names is started by ``start.sh``; what only its image knows starts as it is."""
    mount = VolumeMount(name=_CLIENT_VOLUME, mount_path=CLIENT_FOLDER, read_only=True)

    def changed(container: Container) -> Container:
        command = (_SHELL, f"{CLIENT_FOLDER}/{START}", *container.command) if container.command else ()
        return msgspec.structs.replace(container, command=command, volume_mounts=(*container.volume_mounts, mount))

    volume = Volume(name=_CLIENT_VOLUME, config_map=ConfigMapVolume(name=_client_name(job)))
    return in_containers(spec, names, changed, volume)
