"""What a job's containers are given so that they can tell how far they are. Pure; names are Trainer 2.3's.

Its status endpoint has the same form for jobs of kubeflow.org/v1, so that upstream's clients report from there as well.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ketch.kube.meta import KubeObject, ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.types.containers import Container, EnvVar, VolumeMount
from ketch.kube.types.core import ConfigMap
from ketch.kube.types.pods import PodSpec
from ketch.kube.types.volumes import (
    ConfigMapVolume,
    KeyToPath,
    ProjectedVolume,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)
from ketch.training.containers import in_containers

FOLDER: Final = "/var/run/secrets/kubeflow/trainer"
VOLUME_NAME: Final = "kubeflow-trainer-token"
TOKEN_SECONDS: Final = 3600
_CERTIFICATE, _TOKEN = "ca.crt", "token"


@dataclass(frozen=True, slots=True)
class StatusAddress:
    """Where the status endpoint answers, and by whose certificate it is known.

    ``certificates`` is the ConfigMap that holds it in every namespace; where there is none, ``authority`` is the
    certificate itself, and each job gets a ConfigMap of its own.
    """

    url: str
    certificates: str = ""
    authority: str = ""

    def certificates_of(self, job: KubeObject) -> str:
        """The ConfigMap that the job's pods find the certificate in."""
        return self.certificates or f"{job.metadata.name}-tls-config"

    def objects(self, job: KubeObject) -> Sequence[KubeObject]:
        """What must be there before the job's pods."""
        if self.certificates:
            return ()
        metadata = ObjectMeta(name=self.certificates_of(job), namespace=job.metadata.namespace)
        return (controlled_by(job, ConfigMap(metadata=metadata, data={_CERTIFICATE: self.authority})),)


def audience_of(job: KubeObject) -> str:
    """Whom a token for this job's endpoint is for; also where the endpoint is, below the address."""
    return job.resource.path(job.metadata.namespace, job.metadata.name, "status").removeprefix("/apis/")


def reporting(spec: PodSpec, names: Collection[str], job: KubeObject, address: StatusAddress) -> PodSpec:
    """``spec`` with the way to the endpoint in the containers of these names."""
    audience = audience_of(job)
    mount = VolumeMount(name=VOLUME_NAME, mount_path=FOLDER, read_only=True)
    variables = (
        EnvVar(name="KUBEFLOW_TRAINER_SERVER_URL", value=f"{address.url}/apis/{audience}"),
        EnvVar(name="KUBEFLOW_TRAINER_SERVER_CA_CERT", value=f"{FOLDER}/{_CERTIFICATE}"),
        EnvVar(name="KUBEFLOW_TRAINER_SERVER_TOKEN", value=f"{FOLDER}/{_TOKEN}"),
    )

    def changed(container: Container) -> Container:
        own = {each.name for each in variables}
        env = (*(each for each in container.env if each.name not in own), *variables)
        return msgspec.structs.replace(container, env=env, volume_mounts=(*container.volume_mounts, mount))

    token = ServiceAccountTokenProjection(path=_TOKEN, audience=audience, expiration_seconds=TOKEN_SECONDS)
    trust = ConfigMapVolume(name=address.certificates_of(job), items=(KeyToPath(key=_CERTIFICATE, path=_CERTIFICATE),))
    sources = (VolumeProjection(service_account_token=token), VolumeProjection(config_map=trust))
    volume = Volume(name=VOLUME_NAME, projected=ProjectedVolume(sources=sources))
    return in_containers(spec, names, changed, volume)
