"""All that is asked before a write, in order."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ketch.local.apiserver.admission.asked import Asked
from ketch.local.apiserver.admission.calls import Dial
from ketch.local.apiserver.admission.webhooks import GROUP, Webhooks
from ketch.local.apiserver.auth.rbac import Authorizer
from ketch.local.apiserver.resources import Registry
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.strategies.base import Listing, Lookup

if TYPE_CHECKING:
    from ketch.local.apiserver.admission.mutating import MutatingPolicies
    from ketch.local.apiserver.admission.policies import Policies

BINDINGS = f"{GROUP}/validatingadmissionpolicybindings"
MUTATING = f"{GROUP}/mutatingadmissionpolicybindings"


class Chain:
    """Policies and webhooks that change, then policies and webhooks that judge."""

    def __init__(
        self, store: Store, registry: Registry, authorizer: Authorizer, lookup: Lookup, listing: Listing, dial: Dial
    ) -> None:
        self._store = store
        self._registry = registry
        self._authorizer = authorizer
        self._lookup = lookup
        self._listing = listing
        self._webhooks = Webhooks(store, registry, authorizer, lookup, listing, dial)
        self._policies: Policies | None = None
        self._mutating: MutatingPolicies | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody is to be asked about anything."""
        count = self._store.count
        return not (self._webhooks.mutating or self._webhooks.validating or count(BINDINGS) or count(MUTATING))

    async def mutate(self, asked: Asked, warnings: list[str]) -> Mapping[str, Any] | None:
        """The object as policies and webhooks want it. Raises APIError for a refusal."""
        if self._store.count(MUTATING):
            asked = replace(asked, obj=self._bound_to_change().mutate(asked))
        return await self._webhooks.mutate(asked, warnings) if self._webhooks.mutating else asked.obj

    async def validate(self, asked: Asked, warnings: list[str]) -> None:
        """Raises APIError for a refusal."""
        if self._store.count(BINDINGS):
            self._bound().validate(asked, warnings)
        if self._webhooks.validating:
            await self._webhooks.validate(asked, warnings)

    def _bound_to_change(self) -> "MutatingPolicies":
        if self._mutating is None:
            from ketch.local.apiserver.admission.mutating import MutatingPolicies  # noqa: PLC0415  # as below

            self._mutating = MutatingPolicies(self._bound())
        return self._mutating

    def _bound(self) -> "Policies":
        if self._policies is None:
            from ketch.local.apiserver.admission.policies import Policies  # noqa: PLC0415  # deferred: 20 ms, first policy

            self._policies = Policies(self._registry, self._authorizer, self._lookup, self._listing)
        return self._policies

    def close(self) -> None:
        """Drop connections to webhooks."""
        self._webhooks.close()


def options_of(query: Mapping[str, str]) -> dict[str, Any]:
    """The options of a write, as its query says them."""
    options: dict[str, Any] = {name: query[name] for name in ("fieldManager", "fieldValidation") if query.get(name)}
    if query.get("dryRun"):
        options["dryRun"] = [query["dryRun"]]
    return options
