"""The claim, the mount and the variables of a job's checkpoints. Pure."""

from collections.abc import Collection
from typing import Final

import msgspec

from ketch.kube.meta import ObjectMeta
from ketch.kube.types.containers import Container, EnvVar, ResourceRequirements, VolumeMount
from ketch.kube.types.core import ClaimSpec, PersistentVolumeClaim
from ketch.kube.types.pods import PodSpec
from ketch.kube.types.volumes import ClaimVolume, Volume
from ketch.training.checkpoints.contract import Wish
from ketch.training.containers import in_containers

FOLDER: Final = "/ketch/checkpoints"
VOLUME_NAME: Final = "ketch-checkpoints"
DIRECTORY_VARIABLE: Final = "KETCH_CHECKPOINT_DIR"
KEEP_VARIABLE: Final = "KETCH_CHECKPOINT_KEEP"


def claim_name(job: str) -> str:
    """The claim of the job's own."""
    return f"{job}-checkpoints"


def claim_of(job: str, namespace: str, wish: Wish) -> PersistentVolumeClaim:
    """The claim of the job's own; whose it is, is the caller's to say."""
    spec = ClaimSpec(
        access_modes=(wish.access_mode,),
        resources=ResourceRequirements(requests={"storage": wish.size}),
        storage_class_name=wish.storage_class,
    )
    return PersistentVolumeClaim(metadata=ObjectMeta(name=claim_name(job), namespace=namespace), spec=spec)


def with_checkpoints(spec: PodSpec, names: Collection[str], job: str, wish: Wish) -> PodSpec:
    """``spec`` with the job's checkpoints in the containers of these names; what a user set himself stays."""
    source = ClaimVolume(claim_name=wish.claim or claim_name(job))
    volume = Volume(name=VOLUME_NAME, persistent_volume_claim=source)
    mount = VolumeMount(name=VOLUME_NAME, mount_path=FOLDER, sub_path=wish.path)
    variables = [EnvVar(name=DIRECTORY_VARIABLE, value=FOLDER)]
    if wish.keep:
        variables.append(EnvVar(name=KEEP_VARIABLE, value=wish.keep))

    def changed(container: Container) -> Container:
        known = {each.name for each in container.env}
        env = tuple(each for each in variables if each.name not in known)
        mounts = (*container.volume_mounts, mount)
        return msgspec.structs.replace(container, env=(*env, *container.env), volume_mounts=mounts)

    return in_containers(spec, names, changed, volume)
