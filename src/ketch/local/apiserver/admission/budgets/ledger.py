"""The sums of the namespaces that have quotas."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ketch.kube.clock import Clock
from ketch.kube.errors import APIError, Forbidden, StatusDetails
from ketch.kube.quantities import format_quantity
from ketch.local.apiserver.absent import NOTHING
from ketch.local.apiserver.admission.budgets.charges import NO_CHARGES, Charges, charges, in_scopes, unsaid
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.store.records import Change, StoreKey, StoreUnavailable
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.strategies.limits import amounts

QUOTAS = "/resourcequotas"
PAUSE_SECONDS = 0.05
"""How long usage may gather before it is written."""

Write = Callable[[StoreKey, dict[str, Any]], Any]
"""Writes a quota's status; awaited."""


@dataclass(slots=True)
class _Quota:
    """One quota: what it allows, and what each object takes of that."""

    raw: Mapping[str, Any]
    hard: Mapping[str, Fraction]
    used: dict[str, Fraction]
    entries: dict[tuple[str, str], Charges] = field(default_factory=dict[tuple[str, str], Charges])
    told: Mapping[str, Fraction] | None = None

    def cost(self, storage: str, obj: Mapping[str, Any]) -> Charges:
        """What an object takes of what is limited."""
        if not in_scopes(self.raw, storage, obj):
            return NO_CHARGES
        return {name: amount for name, amount in charges(storage, obj).items() if name in self.hard}

    def enter(self, entry: tuple[str, str], cost: Charges) -> None:
        """Replace what an object takes."""
        before = self.entries.get(entry, NO_CHARGES)
        if cost == before:
            return
        for name in {*cost, *before}:
            self.used[name] += cost.get(name, 0) - before.get(name, 0)
        if cost:
            self.entries[entry] = cost
        else:
            self.entries.pop(entry, None)

    def status(self) -> dict[str, Any]:
        """The quota's status."""
        written = (self.raw.get("spec") or NOTHING).get("hard") or NOTHING
        used = {name: format_quantity(self.used[name], binary="i" in str(text)) for name, text in written.items()}
        return {"hard": dict(written), "used": used}


class Ledger:
    """Admits writes to namespaces with quotas; current with every committed write, and with those on their way."""

    def __init__(self, store: Store, clock: Clock, write: Write) -> None:
        self._store = store
        self._clock = clock
        self._write = write
        self._namespaces: dict[str, dict[str, _Quota]] = {}
        self._stale: dict[StoreKey, None] = {}
        self._writing: asyncio.Task[None] | None = None
        for record in store.list(QUOTAS):
            self._take(record.key, record.value)
        store.observe(QUOTAS, self._quota_changed)
        store.observe_all(self._changed)

    def watches(self, namespace: str) -> bool:
        """Whether a namespace has quotas."""
        return namespace in self._namespaces

    # what is written ----------------------------------------------------------------------------------------------

    def charge(
        self, resource: ServedResource, key: StoreKey, obj: Mapping[str, Any], *, new: bool, dry_run: bool
    ) -> Callable[[], None]:
        """Take what a write costs, before it happens; calling the outcome gives it back. Raises Forbidden."""
        entry = (key.resource, key.name)
        taken: list[tuple[_Quota, Charges]] = []
        for name, quota in self._namespaces.get(key.namespace, {}).items():
            cost = quota.cost(key.resource, obj)
            if not cost and not quota.entries.get(entry):
                continue
            if new and key.resource == "/pods" and (silent := "; ".join(unsaid(quota.hard, obj))):
                raise _forbidden(resource, key.name, f"failed quota: {name}: must specify {silent}")
            before = quota.entries.get(entry, NO_CHARGES)
            self._check(resource, key.name, (name, quota), cost, before)
            taken.append((quota, cost))
        if dry_run or not taken:
            return _nothing
        for quota, cost in taken:
            quota.enter(entry, cost)

        def give_back() -> None:
            # What stands now, which need not be what stood before: somebody else may have written meanwhile.
            record = self._store.get(key)
            for quota, _ in taken:
                quota.enter(entry, quota.cost(key.resource, record.value) if record else NO_CHARGES)

        return give_back

    def _check(
        self, resource: ServedResource, name: str, named: tuple[str, _Quota], cost: Charges, before: Charges
    ) -> None:
        quota_name, quota = named
        more = {each: grown for each, amount in cost.items() if (grown := amount - before.get(each, 0)) > 0}
        over = sorted(each for each, amount in more.items() if quota.used[each] + amount > quota.hard[each])
        if over:
            asked, used, limited = (
                ",".join(f"{each}={_text(each, values[each])}" for each in over)
                for values in (more, quota.used, quota.hard)
            )
            why = f"exceeded quota: {quota_name}, requested: {asked}, used: {used}, limited: {limited}"
            raise _forbidden(resource, name, why)

    # what happened ------------------------------------------------------------------------------------------------

    def _changed(self, change: Change) -> None:
        key = change.record.key
        quotas = self._namespaces.get(key.namespace)
        if not quotas or not key.namespace:
            return
        for name, quota in quotas.items():
            cost = NO_CHARGES if change.deleted else quota.cost(key.resource, change.record.value)
            quota.enter((key.resource, key.name), cost)
            if quota.used != quota.told:
                self._tell(StoreKey(QUOTAS, key.namespace, name))

    def _quota_changed(self, change: Change) -> None:
        key = change.record.key
        if change.deleted:
            quotas = self._namespaces.get(key.namespace, {})
            quotas.pop(key.name, None)
            if not quotas:
                self._namespaces.pop(key.namespace, None)
        elif change.previous is None or change.previous.value["spec"] != change.record.value["spec"]:
            self._take(key, change.record.value)

    def _take(self, key: StoreKey, raw: Mapping[str, Any]) -> None:
        """Count everything that is there."""
        hard = amounts((raw.get("spec") or NOTHING).get("hard"))
        quota = _Quota(raw, hard, dict.fromkeys(hard, Fraction()))
        for storage in self._store.resources():
            for record in self._store.list(storage, key.namespace):
                quota.enter((storage, record.key.name), quota.cost(storage, record.value))
        self._namespaces.setdefault(key.namespace, {})[key.name] = quota
        self._tell(key)

    # telling ------------------------------------------------------------------------------------------------------

    def _tell(self, key: StoreKey) -> None:
        self._stale[key] = None
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_all())

    async def _write_all(self) -> None:
        try:
            while self._stale:
                await self._clock.sleep(PAUSE_SECONDS)
                stale, self._stale = tuple(self._stale), {}
                for key in stale:
                    quota = self._namespaces.get(key.namespace, {}).get(key.name)
                    if quota is not None:
                        await self._write_one(key, quota)
        finally:
            self._writing = None

    async def _write_one(self, key: StoreKey, quota: _Quota) -> None:
        quota.told = dict(quota.used)
        try:
            await self._write(key, quota.status())
        except (APIError, StoreUnavailable):
            return  # it went meanwhile, or cannot be written now: the next change tells

    async def close(self) -> None:
        """Stop to tell; the next start counts anew."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait({self._writing})


def _nothing() -> None:
    """Nothing was taken."""


def _text(name: str, amount: Fraction) -> str:
    return format_quantity(amount, binary=name.endswith(("memory", "storage")))


def _forbidden(resource: ServedResource, name: str, why: str) -> Forbidden:
    details = StatusDetails(name=name, group=resource.group, kind=resource.plural)
    return Forbidden(f'{resource.qualified} "{name}" is forbidden: {why}', details)
