"""Whose a claim is: nobody's, the set's or its pod's, so that it goes with what its policy says. Pure."""

from ketch.kube.meta import KubeObject, OwnerReference
from ketch.kube.owners import owner_reference
from ketch.kube.types.apps import StatefulSet
from ketch.kube.types.core import PersistentVolumeClaim
from ketch.kube.types.pods import Pod
from ketch.local.workloads.statefulsets.identities import claim_name, ordinals

DELETE = "Delete"


def owner_for(owner: StatefulSet, pod: Pod, ordinal: int) -> KubeObject | None:
    """What the claims of the pod go with; None for nothing."""
    policy = owner.spec.persistent_volume_claim_retention_policy
    condemned = ordinal not in ordinals(owner)
    if condemned and policy.when_scaled == DELETE and owner.metadata.deletion_timestamp is None:
        return pod
    return owner if policy.when_deleted == DELETE else None


def references(owner: StatefulSet, pod: Pod, ordinal: int, claim: PersistentVolumeClaim) -> list[OwnerReference] | None:
    """The owners that the claim should have; None when it has them.

    Owners other than the set and its pods are left alone: somebody else gave it to them.
    """
    held = claim.metadata.owner_references
    ours = [each for each in held if each.uid == owner.metadata.uid or _is_pod(each, pod)]
    wanted = owner_for(owner, pod, ordinal)
    if [each.uid for each in ours] == ([wanted.metadata.uid] if wanted else []):
        return None
    others = [each for each in held if each not in ours]
    return [*others, *([owner_reference(wanted)] if wanted else [])]


def _is_pod(reference: OwnerReference, pod: Pod) -> bool:
    """Whether it means this pod, or an earlier one of its name."""
    return reference.kind == "Pod" and reference.name == pod.metadata.name


def claim_names(owner: StatefulSet, pod: Pod) -> list[str]:
    """The pod's claims."""
    return [claim_name(template, pod.metadata.name) for template in owner.spec.volume_claim_templates]
