"""Claims that live as long as a pod: each ephemeral volume of a pod has a claim of its own, owned by the pod."""

from collections.abc import Iterator

from ketch.kube.controller import Result
from ketch.kube.errors import AlreadyExists, Forbidden, NotFound
from ketch.kube.events import EventRecorder
from ketch.kube.manager import Manager, Maps, Owns
from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.owners import controlled_by, controller_of
from ketch.kube.types.core import PersistentVolumeClaim
from ketch.kube.types.pods import Pod
from ketch.local.workloads.dying import is_dying
from ketch.local.workloads.pods import is_active

MANAGER = "ephemeral-volume-controller"


def claims_for(pod: Pod) -> Iterator[PersistentVolumeClaim]:
    """The claims that the pod's ephemeral volumes need, named after pod and volume."""
    for volume in pod.spec.volumes:
        template = volume.ephemeral.volume_claim_template if volume.ephemeral else None
        if template is not None:
            meta = ObjectMeta(
                name=f"{pod.metadata.name}-{volume.name}",
                namespace=pod.metadata.namespace,
                labels=template.metadata.labels,
                annotations=template.metadata.annotations,
            )
            yield controlled_by(pod, PersistentVolumeClaim(metadata=meta, spec=template.spec))


class EphemeralReconciler:
    """Makes pods' own claims."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._pods = manager.informer(Pod)
        self._claims = manager.informer(PersistentVolumeClaim)
        self._events = EventRecorder(manager.client, MANAGER, manager.clock)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass over a pod."""
        pod = self._pods.get(key)
        if pod is None or not is_active(pod):
            return Result()
        for claim in claims_for(pod):
            held = self._claims.get(claim.key)
            if held is None:
                try:
                    await self._client.create(claim, manager=MANAGER)
                except (AlreadyExists, NotFound):
                    continue  # made meanwhile, or the namespace is gone
                except Forbidden as error:
                    if not is_dying(error):
                        raise
                continue
            owner = controller_of(held)
            if owner is None or owner.uid != pod.metadata.uid:
                text = f'PVC "{held.key}" was not created for pod "{pod.key}" (pod is not owner)'
                await self._events.record(pod, "Warning", "FailedBinding", text)
        return Result()


def setup(manager: Manager) -> None:
    """Run the controller."""
    pods, claims = manager.informer(Pod), manager.informer(PersistentVolumeClaim)

    def needing(pod: Pod) -> list[ObjectKey]:
        return [pod.key] if any(volume.ephemeral for volume in pod.spec.volumes) else []

    manager.controller("ephemeral-volumes", EphemeralReconciler(manager), Maps(pods, needing), Owns(claims, Pod))
