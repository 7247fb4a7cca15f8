"""Statuses are written where they differ."""

from typing import Any

from ketch.kube.client import Client
from ketch.kube.errors import NotFound
from ketch.kube.meta import KubeObject, ObjectMeta


async def report(client: Client, obj: KubeObject, status: Any, manager: str) -> None:
    """Give ``obj`` its status; one that is gone meanwhile needs none."""
    held: Any = obj
    if status == held.status:
        return
    kind: Any = type(obj)
    meta = ObjectMeta(name=obj.metadata.name, namespace=obj.metadata.namespace)
    try:
        await client.apply_status(kind(metadata=meta, status=status), manager=manager)
    except NotFound:
        return
