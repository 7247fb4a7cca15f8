"""What a step that ended well has left in the object store, as the event that tells the machine."""

import uuid
from typing import Final

import msgspec

from ketch.metadata.objects import KeyOutside, StoreError, StoreUnreachable
from ketch.pipelines.engine.inputs import InputProblem
from ketch.pipelines.engine.nodes import Node
from ketch.pipelines.engine.orders import Failed, Import, Succeeded
from ketch.pipelines.records.ledger import Ledger
from ketch.pipelines.running.active import Active
from ketch.pipelines.steps.documents import OutputProblem, StepOutput
from ketch.pipelines.steps.layout import OUTPUT_FILE, WORKSPACE_FLAG
from ketch.pipelines.transfer.providers import ConfigurationProblem
from ketch.pipelines.transfer.stores import Stores
from ketch.pipelines.values import Artifact, Values

_LARGEST_OUTPUT: Final = 64 * 1024 * 1024
_IDS = uuid.UUID("b7a0e6a4-31cf-5f7c-8f0e-6d7c1f4f9a52")  # of artifacts


class Results:
    """Reads results; artifacts' ids follow from the task and attempt that made them."""

    def __init__(self, stores: Stores, ledger: Ledger) -> None:
        self._stores, self._ledger = stores, ledger

    def are_far(self, active: Active) -> bool:
        """Whether the run's results lie in a store that has to be asked over the network."""
        try:
            return self._stores.carriage(active.run.namespace).is_remote(active.run.pipeline_root)
        except ConfigurationProblem:
            return False  # which is told when they are read

    async def of_step(self, active: Active, node: Node) -> Succeeded | Failed:
        """Of the pod of a task's attempt. Raises StoreUnreachable."""
        importer = active.machine.spec.executor(node.component).importer
        if importer is not None:
            return await self._downloaded(active, node)
        place = active.place(node)

        def new_id(key: str, position: int) -> str:
            return str(uuid.uuid5(_IDS, f"{node.id}/{node.attempt}/{key}/{position}"))

        try:
            objects = await self._stores.of(active.run.namespace)
            document = await objects.read(place.artifact_uri(OUTPUT_FILE), _LARGEST_OUTPUT)
            output = StepOutput(node.component, place, document)
            files = {name: await objects.read(place.artifact_uri(name), _LARGEST_OUTPUT) for name in output.files}
            return Succeeded(node.id, output.values(files, new_id))
        except StoreUnreachable:
            raise
        except (OutputProblem, KeyOutside, StoreError) as error:
            return Failed(node.id, str(error))

    async def of_import(self, active: Active, order: Import) -> Succeeded:
        """The artifact that an importer names: a known one if there is one alike, else a new one."""
        identity = str(uuid.uuid5(_IDS, f"{order.task_id}/{order.uri}"))
        if order.reuse:
            identity = await self._ledger.imported(order, active.run.namespace) or identity
        artifact = Artifact(id=identity, name=order.key, type=order.type, uri=order.uri, metadata=order.metadata)
        return Succeeded(order.task_id, Values({}, {order.key: (artifact,)}))

    async def _downloaded(self, active: Active, node: Node) -> Succeeded | Failed:
        try:
            order = active.machine.imported(node)
        except InputProblem as problem:
            return Failed(node.id, str(problem))
        marked = {**order.metadata, WORKSPACE_FLAG: True}
        return await self.of_import(active, msgspec.structs.replace(order, metadata=marked))
