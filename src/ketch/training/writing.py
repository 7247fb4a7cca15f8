"""How the reconcilers of this domain write: many objects at a time, ends that may have come already, one status."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import msgspec

from ketch.kube.client import Client, DeleteOptions
from ketch.kube.errors import AlreadyExists, Conflict, NotFound
from ketch.kube.meta import KubeObject, ObjectMeta
from ketch.kube.owners import controller_of

_AT_ONCE: Final = 32
"""Objects written at the same time."""


async def together(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Do all of it, some at a time; raises the first error once everything has been tried."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def bounded(each: Coroutine[Any, Any, None]) -> None:
        async with slots:
            await each

    for outcome in await asyncio.gather(*map(bounded, work), return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def delete(client: Client, doomed: KubeObject, propagation: str | None = None) -> bool:
    """Delete that very object; False when it is gone already, or another has its name."""
    meta = doomed.metadata
    try:
        options = DeleteOptions(uid=meta.uid, propagation=propagation)
        await client.delete(type(doomed), meta.name, meta.namespace, options)
    except (NotFound, Conflict):
        return False
    return True


async def ensure(client: Client, wanted: KubeObject, manager: str) -> bool:
    """Have it there; False when another's object has its name. What is nobody's is used as it is."""
    try:
        await client.create(wanted, manager=manager)
    except AlreadyExists:
        owner = controller_of(wanted)
        if owner is None:
            return True
        try:
            theirs = controller_of(await client.get(type(wanted), wanted.metadata.name, wanted.metadata.namespace))
        except NotFound:
            return await ensure(client, wanted, manager)
        return theirs is not None and theirs.uid == owner.uid
    return True


async def report(client: Client, obj: KubeObject, status: Any, manager: str) -> None:
    """Write the status of ``obj``, which must not have changed meanwhile. Raises Conflict; nothing when it is gone."""
    meta = ObjectMeta(
        name=obj.metadata.name, namespace=obj.metadata.namespace, resource_version=obj.metadata.resource_version
    )
    written = msgspec.structs.replace(obj, metadata=meta, status=status)
    try:
        await client.update_status(written, manager=manager)
    except NotFound:
        return
