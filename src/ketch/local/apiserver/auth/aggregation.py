"""Aggregating ClusterRoles: what they gather is written into them, for those who read roles.

Rights do not wait for that: the authorizer gathers by itself.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from ketch.kube.errors import APIError
from ketch.local.apiserver.auth.identity import LOOPBACK
from ketch.local.apiserver.auth.rbac import CLUSTER_ROLES, GROUP, Authorizer
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.store.records import Change, StoreUnavailable
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.verbs.writing import WriteHandlers

MANAGER = "clusterrole-aggregation-controller"


class Aggregation:
    """Keeps aggregating ClusterRoles true, a moment after others changed."""

    def __init__(self, store: Store, authorizer: Authorizer, writes: WriteHandlers, roles: ServedResource) -> None:
        self._store = store
        self._authorizer = authorizer
        self._writes = writes
        self._roles = roles
        self._stale = False
        self._writing: asyncio.Task[None] | None = None
        store.observe(CLUSTER_ROLES, self._changed)

    def _changed(self, _: Change) -> None:
        self._stale = True
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._stale:
                self._stale = False
                for record in tuple(self._store.list(CLUSTER_ROLES)):
                    if record.value.get("aggregationRule"):
                        await self._write_one(record.value)
        finally:
            self._writing = None

    async def _write_one(self, role: Mapping[str, Any]) -> None:
        rules = self._authorizer.aggregated(role)
        if (role.get("rules") or []) == rules:
            return
        target = Target(GROUP, "v1", self._roles.plural, "", role["metadata"]["name"], "", "update")

        def change(newest: Mapping[str, Any]) -> dict[str, Any]:
            return {**newest, "rules": rules}

        call = Call(LOOPBACK, "PUT", "", {"fieldManager": MANAGER})
        try:
            await self._writes.rewrite(call, target, self._roles, change)
        except (APIError, StoreUnavailable):
            return  # it went meanwhile, or cannot be written now: the next change tells

    async def close(self) -> None:
        """Stop; the next start goes on."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait({self._writing})
