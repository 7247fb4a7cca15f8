"""Which resources are served: the built-in table, and whatever CustomResourceDefinitions add at run time."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from ketch.kube.errors import NotFound
from ketch.local.apiserver.schemas import Schema

OBJECT_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CREATE_ONLY = ("create",)


def storage_of(group: str, plural: str) -> str:
    """The store's collection for a kind that has no other."""
    return f"{group}/{plural}"


@dataclass(frozen=True)
class PrinterColumn:
    """One additional column of Table output; ``priority`` above zero shows it with ``-o wide`` only."""

    name: str
    type: str
    json_path: str
    format: str = ""
    description: str = ""
    priority: int = 0


class Converter(Protocol):
    """Makes objects of one version of a kind another's, by asking somebody."""

    async def converted(self, objects: Sequence[Mapping[str, Any]], api_version: str) -> list[Mapping[str, Any]]:
        """The objects as that version has them, in order. Raises APIError."""
        ...

    def close(self) -> None:
        """Ask no more."""
        ...


@dataclass(frozen=True)
class ServedResource:
    """One resource in one version.

    ``storage`` names the store's collection, the same for all versions. ``stored_version`` is the apiVersion with
    which objects are kept; others are served by rewriting it. ``mixed``: some were kept when another version was that.
    With a ``converter`` they are not rewritten but converted, by whoever reads and writes them, who has to wait for it.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    schema: Schema
    storage: str
    stored_api_version: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = OBJECT_VERBS
    has_status: bool = False
    has_scale: bool = False
    scale_paths: Mapping[str, str] = field(default_factory=dict[str, str])
    columns: tuple[PrinterColumn, ...] = ()
    selectable_fields: tuple[str, ...] = ()
    custom: bool = False
    mixed: bool = False
    deprecation: str = ""
    converter: Converter | None = None

    @cached_property
    def api_version(self) -> str:
        """``v1`` or ``group/version``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def as_stored(self) -> bool:
        """Whether objects are served just as they are kept."""
        return self.api_version == self.stored_api_version and not self.mixed

    @property
    def qualified(self) -> str:
        """``plural`` or ``plural.group``: how messages name the resource."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def stored(self) -> bool:
        """Whether objects are kept at all; reviews and the like are only answered."""
        return self.verbs != CREATE_ONLY


_VERSION = re.compile(r"^v(\d+)(?:(alpha|beta)(\d+))?$")


def version_priority(version: str) -> tuple[Any, ...]:
    """A sort key: stable versions before beta before alpha, newer before older, other names last."""
    found = _VERSION.match(version)
    if found is None:
        return 1, version
    stage = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return 0, stage, -int(found[1]), -int(found[3] or 0)


class Registry:
    """All served resources, found by group, version and plural."""

    def __init__(self, builtin: Iterable[ServedResource]) -> None:
        self._resources: dict[tuple[str, str, str], ServedResource] = {}
        self._kinds: dict[tuple[str, str, str], ServedResource] = {}
        self._versions: dict[str, list[str]] = {}
        self.generation = 0
        """Grows with every change, so that derived documents know when to be made again."""
        for resource in builtin:
            self._add(resource)

    def _add(self, resource: ServedResource) -> None:
        self._resources[resource.group, resource.version, resource.plural] = resource
        self._kinds[resource.group, resource.version, resource.kind] = resource
        versions = self._versions.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
            versions.sort(key=version_priority)

    def find(self, group: str, version: str, plural: str) -> ServedResource:
        """The resource. Raises NotFound, worded as for an unknown path."""
        found = self._resources.get((group, version, plural))
        if found is None:
            raise NotFound("the server could not find the requested resource")
        return found

    def find_kind(self, group: str, version: str, kind: str) -> ServedResource | None:
        """The resource that serves ``kind``, or None."""
        return self._kinds.get((group, version, kind))

    def groups(self) -> Mapping[str, list[str]]:
        """Versions by group, preferred first; the core group is ``""``."""
        return self._versions

    def resources_of(self, group: str, version: str) -> list[ServedResource]:
        """What one group version serves, by name."""
        found = (item for key, item in self._resources.items() if key[:2] == (group, version))
        return sorted(found, key=lambda item: item.plural)

    def __iter__(self) -> Iterator[ServedResource]:
        return iter(tuple(self._resources.values()))

    def install(self, group: str, plural: str, versions: Iterable[ServedResource]) -> None:
        """Serve these versions of a custom resource and no others of it."""
        self.remove(group, plural, keep_generation=True)
        for resource in versions:
            taken = self._resources.get((group, resource.version, plural))
            if taken is None or taken.custom:
                self._add(resource)
        self.generation += 1

    def remove(self, group: str, plural: str, *, keep_generation: bool = False) -> None:
        """Stop to serve a custom resource."""
        gone = [key for key, item in self._resources.items() if item.custom and key[0] == group and key[2] == plural]
        for key in gone:
            resource = self._resources.pop(key)
            self._kinds.pop((resource.group, resource.version, resource.kind), None)
        left = {key[1] for key in self._resources if key[0] == group}
        self._versions[group] = [version for version in self._versions.get(group, ()) if version in left]
        if not self._versions[group]:
            del self._versions[group]
        if gone and not keep_generation:
            self.generation += 1


def stored_api_version(obj: Mapping[str, Any]) -> tuple[str, str]:
    """Group and version of an object's apiVersion."""
    group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
    return group, version
