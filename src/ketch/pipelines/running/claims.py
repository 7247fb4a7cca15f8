"""PersistentVolumeClaims that pipelines ask for: made and deleted by the engine itself, and the run's workspace.

A claim made for a task carries the task's id: after a crash it is known as made, while another's of the same name is
an error. Such claims outlive the run, as upstream; the workspace goes with it.
"""

import uuid
from collections.abc import Mapping
from typing import Any, Final, cast

from ketch.kube.client import Client
from ketch.kube.errors import AlreadyExists, APIError, BadRequest, Forbidden, Invalid, NotFound
from ketch.kube.meta import ObjectMeta
from ketch.kube.quantities import QuantityError, parse_quantity
from ketch.kube.types.containers import ResourceRequirements
from ketch.kube.types.core import PersistentVolumeClaim
from ketch.kube.types.volumes import ClaimSpec
from ketch.pipelines.ir.platform import Workspace
from ketch.pipelines.ir.spec import CREATE_CLAIM
from ketch.pipelines.steps.step import TASK_LABEL
from ketch.pipelines.steps.workspace import claim
from ketch.pipelines.values import Values, to_text

MANAGER: Final = "ketch-pipelines"
NAME_OUTPUT: Final = "name"
REFUSALS: Final = (Invalid, Forbidden, BadRequest, NotFound)

_IDS = uuid.UUID("0d5d9c1c-3c43-5b1f-9a39-5a7e4f0c8d62")  # of claims without a name of their own


class ClaimProblem(Exception):
    """The claim cannot be made or deleted; the message is the task's error."""


class Claims:
    """Claims in the cluster."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def workspace(self, namespace: str, run_id: str, workspace: Workspace) -> None:
        """See to it that the run's workspace exists. Raises ClaimProblem."""
        try:
            await self._client.create(claim(namespace, run_id, workspace), manager=MANAGER)
        except AlreadyExists:
            return
        except REFUSALS as error:
            raise ClaimProblem(f"the workspace was refused: {error}") from error

    async def perform(self, operation: str, namespace: str, task_id: str, parameters: Mapping[str, Any]) -> Values:
        """Do what the task is for; returns its outputs. Raises ClaimProblem."""
        if operation == CREATE_CLAIM:
            return await self._create(asked_for(namespace, task_id, parameters))
        await self._delete(namespace, _text(parameters, "pvc_name"))
        return Values()

    async def holds(self, operation: str, namespace: str, parameters: Mapping[str, Any], outputs: Values) -> bool:
        """Whether the outputs of an earlier execution still tell the truth: the claim is there, or is gone."""
        if operation == CREATE_CLAIM:
            return await self._exists(namespace, to_text(outputs.parameters.get(NAME_OUTPUT)))
        return not await self._exists(namespace, to_text(parameters.get("pvc_name")))

    async def _exists(self, namespace: str, name: str) -> bool:
        try:
            found = await self._client.get(PersistentVolumeClaim, name, namespace)
        except NotFound:
            return False
        return found.metadata.deletion_timestamp is None

    async def _create(self, wanted: PersistentVolumeClaim) -> Values:
        name, namespace = wanted.metadata.name, wanted.metadata.namespace
        try:
            await self._client.create(wanted, manager=MANAGER)
        except AlreadyExists:
            found = await self._client.get(PersistentVolumeClaim, name, namespace)
            if found.metadata.labels.get(TASK_LABEL) != wanted.metadata.labels[TASK_LABEL]:
                raise ClaimProblem(f'the claim "{name}" exists already in namespace {namespace}') from None
        except REFUSALS as error:
            raise ClaimProblem(f'the claim "{name}" was refused: {error}') from error
        return Values({NAME_OUTPUT: name})

    async def _delete(self, namespace: str, name: str) -> None:
        try:
            await self._client.delete(PersistentVolumeClaim, name, namespace)
        except NotFound:
            return  # gone is what was wanted, and a pass before a crash may have done it
        except APIError as error:
            if isinstance(error, REFUSALS):
                raise ClaimProblem(f'the claim "{name}" could not be deleted: {error}') from error
            raise


def asked_for(namespace: str, task_id: str, parameters: Mapping[str, Any]) -> PersistentVolumeClaim:
    """The claim that the inputs of a creating task describe. Raises ClaimProblem, naming the input."""
    annotations = _mapping(parameters, "annotations")
    size = _text(parameters, "size")
    try:
        parse_quantity(size)
    except QuantityError as error:
        raise ClaimProblem(f'size: "{size}" is no quantity such as 5Gi: {error}') from error
    source = _mapping(parameters, "data_source")
    spec = ClaimSpec(
        access_modes=_modes(parameters),
        resources=ResourceRequirements(requests={"storage": size}),
        storage_class_name=_storage_class(parameters),
        volume_name=to_text(parameters.get("volume_name")),
        unknown_fields={"dataSource": source} if source else {},
    )
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            name=_name(task_id, parameters),
            namespace=namespace,
            labels={TASK_LABEL: task_id, "app.kubernetes.io/managed-by": "ketch-pipelines"},
            annotations={name: to_text(value) for name, value in annotations.items()},
        ),
        spec=spec,
    )


def _name(task_id: str, parameters: Mapping[str, Any]) -> str:
    name, suffix = to_text(parameters.get("pvc_name")), to_text(parameters.get("pvc_name_suffix"))
    if name and suffix:
        raise ClaimProblem("pvc_name and pvc_name_suffix: only one of the two can be given")
    return name or f"{uuid.uuid5(_IDS, task_id)}{suffix}"


def _modes(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    modes = parameters.get("access_modes")
    if not isinstance(modes, list) or not modes:
        raise ClaimProblem("access_modes: must be a list such as ['ReadWriteOnce']")
    return tuple(to_text(mode) for mode in cast("list[Any]", modes))


def _storage_class(parameters: Mapping[str, Any]) -> str | None:
    """Not given is the cluster's default class, empty is none: a volume that exists already."""
    given = parameters.get("storage_class_name")
    return None if given is None else to_text(given)


def _text(parameters: Mapping[str, Any], name: str) -> str:
    value = to_text(parameters.get(name))
    if not value:
        raise ClaimProblem(f"{name}: must not be empty")
    return value


def _mapping(parameters: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parameters.get(name)
    if value is None or isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value or {})
    raise ClaimProblem(f"{name}: must be an object, not {to_text(value)[:100]}")
