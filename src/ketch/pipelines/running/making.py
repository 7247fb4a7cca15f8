"""Making the pods of a run's steps."""

import logging
from collections.abc import Iterable

import msgspec

from ketch.kube.client import Client
from ketch.kube.errors import AlreadyExists
from ketch.metadata.objects import KeyOutside, StoreError, StoreUnreachable
from ketch.pipelines.engine.nodes import Node
from ketch.pipelines.engine.orders import Failed
from ketch.pipelines.running.active import Active
from ketch.pipelines.running.claims import MANAGER, REFUSALS
from ketch.pipelines.steps.layout import in_workspace
from ketch.pipelines.steps.pods import Made, made
from ketch.pipelines.steps.step import PodProblem, Step
from ketch.pipelines.transfer.providers import ConfigurationProblem
from ketch.pipelines.transfer.stores import Stores

log = logging.getLogger(__name__)

_WRONG = (PodProblem, ConfigurationProblem, StoreError, KeyOutside)
"""Why a step has no pod."""


class PodMaker:
    """Puts pods together and creates them. ``Active.prepared`` holds those that were put together ahead."""

    def __init__(self, client: Client, stores: Stores) -> None:
        self._client, self._stores = client, stores

    async def prepare(self, active: Active, nodes: Iterable[Node]) -> None:
        """Put the pods of these attempts together, as far as that goes; what is wrong is told when they are made."""
        for node in nodes:
            if node.launched:
                try:
                    active.prepared[active.name(node)] = await self._told(active, node)
                except _WRONG:
                    continue

    async def make(self, active: Active, node: Node) -> Failed | None:
        """Create the pod of the node's attempt, unless it is there already. A refusal is the task's failure.

        Raises StoreUnreachable.
        """
        try:
            ready = active.prepared.pop(active.name(node), None) or await self._told(active, node)
            for uri, content in ready.files.items():
                await (await self._stores.of(active.run.namespace)).write(uri, content)
            await self._client.create(ready.pod, manager=MANAGER)
        except AlreadyExists:
            return None  # made before a crash: its name tells that it is this attempt's
        except StoreUnreachable:
            raise
        except _WRONG as error:
            return Failed(node.id, str(error))
        except REFUSALS as error:
            return Failed(node.id, f"the pod was refused: {error}")
        return None

    async def exists(self, namespace: str, uri: str) -> bool:
        """Whether the data is known to be there."""
        try:
            return await (await self._stores.of(namespace)).exists(uri)
        except KeyOutside:
            return False
        except StoreError as error:
            log.warning("cannot tell whether %s is there: %s", uri, error)
            return False

    async def _told(self, active: Active, node: Node) -> Made:
        carriage = self._stores.carriage(active.run.namespace)
        step = msgspec.structs.replace(active.step(node), carriage=carriage)
        return made(step, await self._present(step))

    async def _present(self, step: Step) -> set[str]:
        """The input artifacts whose data the store that is here has; a missing one is for the step to find out."""
        artifacts = (each for several in step.inputs.artifacts.values() for each in several)
        uris = {each.uri for each in artifacts if not in_workspace(each.metadata)}
        here = [uri for uri in uris if not step.carriage.is_carried(uri)]
        return {uri for uri in here if await self.exists(step.namespace, uri)}
