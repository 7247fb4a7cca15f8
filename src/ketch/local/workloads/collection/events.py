"""Events are news: they go an hour after what they tell of happened last."""

import logging
from datetime import datetime, timedelta

from ketch.kube.client import Client, DeleteOptions
from ketch.kube.clock import Clock
from ketch.kube.errors import APIError, Conflict, NotFound, TransportError
from ketch.kube.manager import Manager
from ketch.kube.types.core import Event
from ketch.local.workloads.batches import together

log = logging.getLogger(__name__)

KEPT = timedelta(hours=1)
EVERY_SECONDS = 300.0
"""Between two looks at them: nobody keeps a copy of all events only to know when one is old."""
PAGE = 500


def has_expired(event: Event, now: datetime) -> bool:
    """Whether it has been told long enough."""
    last = event.last_timestamp or event.metadata.creation_timestamp
    return last is not None and now - last > KEPT


async def expire(client: Client, now: datetime) -> None:
    """Delete what is old. Raises APIError, TransportError."""
    token = ""
    while True:
        page = await client.list(Event, limit=PAGE, continue_token=token)
        await together(_delete(client, event) for event in page.items if has_expired(event, now))
        token = page.continue_token
        if not token:
            return


async def _delete(client: Client, event: Event) -> None:
    meta = event.metadata
    options = DeleteOptions(uid=meta.uid, resource_version=meta.resource_version)
    try:
        await client.delete(Event, meta.name, meta.namespace, options)
    except (NotFound, Conflict):
        return  # gone, or it happened again


async def _run(client: Client, clock: Clock) -> None:
    while True:
        await clock.sleep(EVERY_SECONDS)
        try:
            await expire(client, clock.now())
        except (APIError, TransportError) as error:
            log.info("old events stay for now: %s", error)


def setup(manager: Manager) -> None:
    """Look at events from time to time."""

    async def events() -> None:
        await _run(manager.client, manager.clock)

    manager.add(events)
