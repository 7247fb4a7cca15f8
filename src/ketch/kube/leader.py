"""Leader election by a Lease: at most one of several processes acts.

Whether a lease has lapsed is judged by how long this process has seen it unchanged, never by comparing wall clocks of
two machines. A holder that could not renew for ``RENEW_SECONDS`` stops, before others may take over after
``LEASE_SECONDS``.
"""

import logging

import msgspec

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.errors import AlreadyExists, APIError, Conflict, NotFound, TransportError
from ketch.kube.meta import ObjectMeta
from ketch.kube.types.coordination import Lease, LeaseSpec

log = logging.getLogger(__name__)

LEASE_SECONDS = 15
RENEW_SECONDS = 10.0
RETRY_SECONDS = 2.0
_RELEASED_SECONDS = 1


class LeadershipLost(Exception):
    """The lease could not be renewed, or another holds it."""


class LeaseLock:
    """The lock ``namespace/name``, for one contender called ``identity``."""

    def __init__(self, client: Client, clock: Clock, name: str, namespace: str, identity: str) -> None:
        self.identity = identity
        self._client = client
        self._clock = clock
        self._name = name
        self._namespace = namespace
        self._seen: LeaseSpec | None = None
        self._seen_at = 0.0
        self._held: Lease | None = None

    async def acquire(self) -> None:
        """Until this contender holds the lease."""
        while not await self._try():
            await self._clock.sleep(RETRY_SECONDS)
        log.info("%s leads (%s/%s)", self.identity, self._namespace, self._name)

    async def hold(self) -> None:
        """Renew until cancelled. Raises LeadershipLost."""
        renewed = self._clock.monotonic()
        while True:
            await self._clock.sleep(RETRY_SECONDS)
            if await self._renew():
                renewed = self._clock.monotonic()
            elif self._held is None or self._clock.monotonic() - renewed >= RENEW_SECONDS:
                self._held = None
                raise LeadershipLost(f"{self.identity} no longer holds lease {self._namespace}/{self._name}")

    async def release(self) -> None:
        """Let others take over at once; harmless when not held."""
        held, self._held = self._held, None
        if held is None:
            return
        spec = msgspec.structs.replace(
            held.spec, holder_identity="", lease_duration_seconds=_RELEASED_SECONDS, renew_time=self._clock.now()
        )
        try:
            await self._client.update(msgspec.structs.replace(held, spec=spec))
        except (APIError, TransportError) as error:
            log.info("lease %s/%s will lapse, it could not be released: %s", self._namespace, self._name, error)

    async def _try(self) -> bool:
        try:
            try:
                lease = await self._client.get(Lease, self._name, self._namespace)
            except NotFound:
                metadata = ObjectMeta(name=self._name, namespace=self._namespace)
                self._held = await self._client.create(Lease(metadata=metadata, spec=self._mine(0)))
                return True
            if self._is_taken(lease.spec):
                return False
            spec = self._mine((lease.spec.lease_transitions or 0) + 1)
            self._held = await self._client.update(msgspec.structs.replace(lease, spec=spec))
        except (AlreadyExists, Conflict):
            return False
        except (APIError, TransportError) as error:
            log.warning("lease %s/%s: %s", self._namespace, self._name, error)
            return False
        return True

    async def _renew(self) -> bool:
        """Whether the lease was renewed; ``_held`` becomes None when another has it."""
        assert self._held
        spec = msgspec.structs.replace(self._held.spec, renew_time=self._clock.now())
        try:
            self._held = await self._client.update(msgspec.structs.replace(self._held, spec=spec))
        except (Conflict, NotFound):
            return await self._refresh()
        except (APIError, TransportError) as error:
            log.warning("lease %s/%s not renewed: %s", self._namespace, self._name, error)
            return False
        return True

    async def _refresh(self) -> bool:
        """Somebody touched the lease: take the newest version if it still names us. Renewed only by the next turn."""
        try:
            lease = await self._client.get(Lease, self._name, self._namespace)
        except NotFound:
            self._held = None
        except (APIError, TransportError):
            return False
        else:
            self._held = lease if lease.spec.holder_identity == self.identity else None
        return False

    def _is_taken(self, spec: LeaseSpec) -> bool:
        if not spec.holder_identity or spec.holder_identity == self.identity:
            return False
        now = self._clock.monotonic()
        if spec != self._seen:
            self._seen, self._seen_at = spec, now
        return now - self._seen_at < (spec.lease_duration_seconds or LEASE_SECONDS)

    def _mine(self, transitions: int) -> LeaseSpec:
        now = self._clock.now()
        return LeaseSpec(
            holder_identity=self.identity,
            lease_duration_seconds=LEASE_SECONDS,
            acquire_time=now,
            renew_time=now,
            lease_transitions=transitions,
        )
