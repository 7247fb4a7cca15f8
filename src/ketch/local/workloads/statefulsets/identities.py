"""What the pod of a number is: its name, labels, host name, and the claims that are mounted into it. Pure."""

import re
from collections.abc import Iterator

import msgspec

from ketch.kube.meta import ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.types.apps import StatefulSet
from ketch.kube.types.core import PersistentVolumeClaim
from ketch.kube.types.pods import Pod, PodTemplateSpec
from ketch.kube.types.volumes import ClaimVolume, Volume
from ketch.local.workloads.revisions import labelled

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
_NUMBERED = re.compile(r"(.*)-([0-9]+)")


def ordinal_of(owner: StatefulSet, pod: Pod) -> int | None:
    """The pod's number; None for a pod that is not named as one of the set."""
    found = _NUMBERED.fullmatch(pod.metadata.name)
    return int(found[2]) if found and found[1] == owner.metadata.name else None


def ordinals(owner: StatefulSet) -> range:
    """The numbers that should have a pod."""
    replicas = 1 if owner.spec.replicas is None else owner.spec.replicas
    return range(owner.spec.ordinals.start, owner.spec.ordinals.start + replicas)


def pod_name(owner: StatefulSet, ordinal: int) -> str:
    """The pod of a number."""
    return f"{owner.metadata.name}-{ordinal}"


def claim_name(template: PersistentVolumeClaim, pod: str) -> str:
    """The claim that a template means for a pod."""
    return f"{template.metadata.name}-{pod}"


def claims_for(owner: StatefulSet, ordinal: int) -> Iterator[PersistentVolumeClaim]:
    """The claims of a number, as they are made."""
    for template in owner.spec.volume_claim_templates:
        labels = {**template.metadata.labels, **owner.spec.selector.match_labels}
        meta = ObjectMeta(
            name=claim_name(template, pod_name(owner, ordinal)),
            namespace=owner.metadata.namespace,
            labels=labels,
            annotations=template.metadata.annotations,
        )
        yield PersistentVolumeClaim(metadata=meta, spec=template.spec)


def volumes_for(owner: StatefulSet, pod: Pod) -> tuple[Volume, ...]:
    """The pod's volumes: its claims take the place of volumes of the same names."""
    mounted = {
        template.metadata.name: Volume(
            name=template.metadata.name,
            persistent_volume_claim=ClaimVolume(claim_name=claim_name(template, pod.metadata.name)),
        )
        for template in owner.spec.volume_claim_templates
    }
    others = (each for each in pod.spec.volumes if each.name not in mounted)
    return (*mounted.values(), *others)


def pod_for(owner: StatefulSet, ordinal: int, template: PodTemplateSpec, revision: str) -> Pod:
    """A new pod of that number, from the template of a revision."""
    name, meta = pod_name(owner, ordinal), template.metadata
    marks = {POD_NAME: name, POD_INDEX: str(ordinal)}
    pod = Pod(
        metadata=labelled(
            ObjectMeta(
                name=name,
                namespace=owner.metadata.namespace,
                labels={**meta.labels, **marks},
                annotations=meta.annotations,
                finalizers=meta.finalizers,
            ),
            revision,
        ),
        spec=template.spec,
    )
    spec = msgspec.structs.replace(
        pod.spec, hostname=name, subdomain=owner.spec.service_name, volumes=volumes_for(owner, pod)
    )
    return controlled_by(owner, msgspec.structs.replace(pod, spec=spec))


def lost_labels(pod: Pod, ordinal: int) -> dict[str, str]:
    """Labels of its identity that somebody has taken or changed."""
    wanted = {POD_NAME: pod.metadata.name, POD_INDEX: str(ordinal)}
    return {key: value for key, value in wanted.items() if pod.metadata.labels.get(key) != value}
