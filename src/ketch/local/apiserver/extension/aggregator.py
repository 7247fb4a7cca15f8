"""Keeps what the APIServices in the store say: those of this server, and the ways to others."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ketch.kube.clock import Clock
from ketch.kube.codec import format_time
from ketch.kube.errors import AlreadyExists, APIError, NotFound
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.admission.calls import CallError
from ketch.local.apiserver.admission.places import Unplaced
from ketch.local.apiserver.auth.identity import LOOPBACK
from ketch.local.apiserver.extension.remotes import Remote
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import Registry
from ketch.local.apiserver.store.records import Change, StoreUnavailable
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.strategies.definitions import CRDS
from ketch.local.apiserver.verbs.deletion import DeleteHandlers
from ketch.local.apiserver.verbs.writing import WriteHandlers

GROUP = "apiregistration.k8s.io"
SERVICES = f"{GROUP}/apiservices"
FRONT_PROXY = "front-proxy-client"
"""Who this server is to others."""

MANAGED = "kube-aggregator.kubernetes.io/automanaged"
SETTLE_SECONDS = 5.0
"""This server's own APIServices are for people to look at; a start has better things to do first."""

CHECK_SECONDS, RETRY_SECONDS = 30.0, 1.0
CORE_PRIORITY, OWN_PRIORITY, CUSTOM_PRIORITY = 18000, 17000, 1000


class Aggregator:
    """``remotes`` are the group versions that other servers serve; ``made`` makes one of an APIService.

    ``introduce`` has this server tell others how it is known, before the first of them is asked.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        writes: WriteHandlers,
        deletes: DeleteHandlers,
        clock: Clock,
        made: Callable[[Mapping[str, Any]], Remote],
        introduce: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._registry = registry
        self._writes = writes
        self._deletes = deletes
        self._clock = clock
        self._made = made
        self._introduce = introduce
        self._resource = registry.find(GROUP, "v1", "apiservices")
        self._checks: dict[str, asyncio.Task[None]] = {}
        self._keeping: asyncio.Task[None] | None = None
        self._stale = True
        self.remotes: dict[tuple[str, str], Remote] = {}
        self.generation = 0
        """Grows with every change of what others serve."""
        for record in store.list(SERVICES):
            self._take(record.value)
        store.observe(SERVICES, self._changed)
        store.observe(CRDS, self._defined)
        self._keep()

    def find(self, path: str) -> Remote | None:
        """The server that answers a path; None when it is this one."""
        parts = path.removeprefix("/openapi/v3").split("/", 4)
        return self.remotes.get((parts[2], parts[3])) if parts[1:2] == ["apis"] and len(parts) > 3 else None

    def ranked(self) -> list[Remote]:
        """The other servers, in the order in which discovery names them."""
        return sorted(self.remotes.values(), key=lambda remote: (remote.priority, remote.group))

    # other servers ------------------------------------------------------------------------------------------------

    def _changed(self, change: Change) -> None:
        value, before = change.record.value, change.previous.value if change.previous else None
        if change.deleted:
            self._drop(value)
        elif before is None or before["spec"] != value["spec"]:
            if before is not None:
                self._drop(before)
            self._take(value)

    def _take(self, value: Mapping[str, Any]) -> None:
        spec = value["spec"]
        if not spec.get("service"):
            return
        group, version = spec.get("group", ""), spec.get("version", "")
        if version not in self._registry.groups().get(group, ()):  # nobody takes over what this server serves
            self.remotes[group, version] = remote = self._made(value)
            self.generation += 1
            name = value["metadata"]["name"]
            self._checks[name] = asyncio.get_running_loop().create_task(self._check(remote))

    def _drop(self, value: Mapping[str, Any]) -> None:
        spec = value["spec"]
        self.remotes.pop((spec.get("group", ""), spec.get("version", "")), None)
        self.generation += 1
        if (task := self._checks.pop(value["metadata"]["name"], None)) is not None:
            task.cancel()

    async def _check(self, remote: Remote) -> None:
        """Find out, again and again, whether a server answers, and what it serves."""
        while True:
            await self._introduced()
            reason, message = await _state(remote)
            before = (remote.available, remote.resources)
            remote.available = reason == "Passed"
            if before != (remote.available, remote.resources) or reason == "Passed":
                self.generation += 1
            await self._tell(remote.raw, reason, message)
            await self._clock.sleep(CHECK_SECONDS if remote.available else RETRY_SECONDS)

    async def _introduced(self) -> None:
        try:
            await self._introduce()
        except (APIError, StoreUnavailable):
            return  # nothing can be written now: the next check does it

    async def _tell(self, service: Mapping[str, Any], reason: str, message: str) -> None:
        """Keep the condition Available."""
        now = format_time(self._clock.now().replace(microsecond=0))
        status = "True" if reason == "Passed" else "False"
        told = {"type": "Available", "status": status, "reason": reason, "message": message}
        name = service["metadata"]["name"]
        target = Target(GROUP, "v1", "apiservices", "", name, "status", "update")

        def change(newest: Mapping[str, Any]) -> dict[str, Any]:
            conditions = (newest.get("status") or NOTHING).get("conditions") or NO_ITEMS
            was = next((each for each in conditions if each.get("type") == "Available"), NOTHING)
            since = was.get("lastTransitionTime", now) if was.get("status") == status else now
            others = [each for each in conditions if each.get("type") != "Available"]
            return {**newest, "status": {"conditions": [*others, {**told, "lastTransitionTime": since}]}}

        try:
            await self._writes.rewrite(Call(LOOPBACK, "PUT", ""), target, self._resource, change)
        except (APIError, StoreUnavailable):
            return  # it went meanwhile, or cannot be written now: the next check tells

    # this server's own --------------------------------------------------------------------------------------------

    def _defined(self, _: Change) -> None:
        self._stale = True
        self._keep()

    def _keep(self) -> None:
        if self._keeping is None:
            self._keeping = asyncio.get_running_loop().create_task(self._keep_own())

    async def _keep_own(self) -> None:
        """Have an APIService for each group version of this server, and for no other."""
        try:
            while self._stale:
                await self._clock.sleep(SETTLE_SECONDS)
                self._stale = False
                wanted = dict(self._own())
                for record in tuple(self._store.list(SERVICES)):
                    labels = record.value["metadata"].get("labels") or NOTHING
                    if wanted.pop(record.key.name, None) is None and MANAGED in labels:
                        await self._remove(record.key.name)
                await asyncio.gather(*map(self._create, wanted.values()))
        finally:
            self._keeping = None

    def _own(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The APIService of each group version of this server, by name."""
        for group, versions in self._registry.groups().items():
            custom = any(item.custom for item in self._registry.resources_of(group, versions[0]))
            minimum = CORE_PRIORITY if not group else CUSTOM_PRIORITY if custom else OWN_PRIORITY
            for index, version in enumerate(versions):
                name = f"{version}.{group}"
                spec: dict[str, Any] = {"group": group, "version": version, "groupPriorityMinimum": minimum}
                spec["versionPriority"] = max(1, 100 - index) if custom else max(1, 15 - index)
                labels = {MANAGED: "true" if custom else "onstart"}
                yield name, {"metadata": {"name": name, "labels": labels}, "spec": spec}

    async def _create(self, body: dict[str, Any]) -> None:
        target = Target(GROUP, "v1", "apiservices", "", "", "", "create")
        try:
            await self._writes.create(Call(LOOPBACK, "POST", "", body=body), target, self._resource)
        except (AlreadyExists, StoreUnavailable):
            return  # somebody made it, or nothing can be written now: the next start does

    async def _remove(self, name: str) -> None:
        target = Target(GROUP, "v1", "apiservices", "", name, "", "delete")
        try:
            await self._deletes.delete(Call(LOOPBACK, "DELETE", ""), target, self._resource)
        except (NotFound, StoreUnavailable):
            return  # it is gone, or nothing can be written now: the next start does it

    async def close(self) -> None:
        """Ask nobody any more."""
        tasks = [*self._checks.values(), *([self._keeping] if self._keeping else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _state(remote: Remote) -> tuple[str, str]:
    """Why a server is available or not: reason and message."""
    service = remote.spec["service"]
    shown = f"{service['namespace']}/{service['name']}"
    quoted = f'service/{service["name"]} in "{service["namespace"]}"'
    try:
        remote.place()
    except Unplaced as error:
        if str(error).endswith("not found"):
            return "ServiceNotFound", f"{quoted} is not present"
        return "MissingEndpoints", f"endpoints for {quoted} have no addresses"
    try:
        await remote.look()
    except CallError as error:
        return "FailedDiscoveryCheck", f"failing or missing response from {shown}: {error}"
    return "Passed", "all checks passed"


def introduction(client_authority: Path, front_authority: Path) -> Iterator[dict[str, Any]]:
    """What other API servers read to believe this one: a ConfigMap, and the right to read it, for who is given it."""
    name, namespace = "extension-apiserver-authentication", "kube-system"
    data = {
        "client-ca-file": client_authority.read_text(),
        "requestheader-client-ca-file": front_authority.read_text(),
        "requestheader-allowed-names": f'["{FRONT_PROXY}"]',
        "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-uid-headers": '["X-Remote-Uid"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    }
    meta = {"name": name, "namespace": namespace}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [name], "verbs": ["get", "list", "watch"]}
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": f"{name}-reader", "namespace": namespace},
        "rules": [rule],
    }
