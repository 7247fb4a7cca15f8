"""The one thing that handlers ask: who registered, who judges, whose budget it is."""

from collections.abc import Callable, Mapping
from typing import Any

from ketch.local.apiserver.admission.asked import CREATE, DELETE, UPDATE, Asked
from ketch.local.apiserver.admission.budgets.ledger import Ledger
from ketch.local.apiserver.admission.chain import Chain, options_of
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.store.records import StoreKey


class Gate:
    """Every write passes here. ``idle`` says that nobody registered anything: then only budgets are asked."""

    def __init__(self, chain: Chain, ledger: Ledger) -> None:
        self._chain = chain
        self._ledger = ledger

    @property
    def idle(self) -> bool:
        """Whether nobody is to be asked about anything."""
        return self._chain.idle

    async def mutate(self, asked: Asked, warnings: list[str]) -> Mapping[str, Any] | None:
        """The object as webhooks want it. Raises APIError for a refusal."""
        return await self._chain.mutate(asked, warnings)

    async def validate(self, asked: Asked, warnings: list[str]) -> None:
        """Raises APIError for a refusal."""
        await self._chain.validate(asked, warnings)

    def charge(
        self, resource: ServedResource, key: StoreKey, obj: Mapping[str, Any], *, new: bool, dry_run: bool
    ) -> Callable[[], None]:
        """Take what a write costs its namespace; calling the outcome gives it back. Raises Forbidden."""
        if not self._ledger.watches(key.namespace):
            return _nothing
        return self._ledger.charge(resource, key, obj, new=new, dry_run=dry_run)

    async def close(self) -> None:
        """Stop what goes on beside."""
        self._chain.close()
        await self._ledger.close()


def _nothing() -> None:
    """Nothing was taken."""


def asked_of(
    call: Call,
    target: Target,
    resource: ServedResource,
    objects: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None],
) -> Asked:
    """A call as admission sees it; ``objects`` are the new one and the old one, in the call's version."""
    obj, old = objects
    operation = CREATE if old is None else DELETE if obj is None else UPDATE
    name = target.name or str((obj or {}).get("metadata", {}).get("name", ""))
    options, dry_run = options_of(call.query), call.dry_run
    return Asked(operation, resource, target.subresource, target.namespace, name, call.user, obj, old, options, dry_run)
