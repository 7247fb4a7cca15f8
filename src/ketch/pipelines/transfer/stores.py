"""Stores: the object store of each namespace, as its ConfigMap says, and with what its Secrets hold."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ketch.kube.client import Reader
from ketch.kube.clock import Clock
from ketch.kube.errors import Forbidden, NotFound
from ketch.kube.informer import Informer
from ketch.kube.meta import ObjectKey
from ketch.kube.types.core import ConfigMap, Secret
from ketch.metadata.objects import DEFAULT_ROOT, ObjectStore
from ketch.metadata.stores.remote import RemoteObjectStore
from ketch.metadata.stores.router import RoutedObjectStore
from ketch.metadata.stores.table import Place
from ketch.pipelines.transfer.providers import CONFIG_MAP, Configuration, ConfigurationProblem, read_configuration
from ketch.pipelines.transfer.sources import Carriage, SecretKey, Source

SECRETS_FRESH: Final = 30.0
"""For how many seconds what a Secret held is believed."""

SELECTOR: Final = f"metadata.name={CONFIG_MAP}"
"""The field selector of the ConfigMaps that matter."""


@dataclass(frozen=True, slots=True)
class _Opened:
    version: str
    until: float
    store: RoutedObjectStore


class Stores:
    """The stores of all namespaces. ``config_maps`` need not hold more than what ``SELECTOR`` selects.

    ``here`` has what is not configured; ``defaults`` are the stores of what a namespace's ConfigMap does not name.
    """

    def __init__(
        self,
        client: Reader,
        config_maps: Informer[ConfigMap],
        clock: Clock,
        here: ObjectStore | None,
        *,
        carriage: Carriage | None = None,
    ) -> None:
        self._client, self._config_maps, self._clock, self._here = client, config_maps, clock, here
        self._defaults = carriage or Carriage()
        self._unconfigured = RoutedObjectStore(RemoteObjectStore(()), here)
        self._opened: dict[str, _Opened] = {}
        self._read: dict[str, tuple[str, Configuration]] = {}

    def default_root(self, namespace: str) -> str:
        """Where artifacts go when neither the run nor its pipeline says so. Raises ConfigurationProblem."""
        return self._configuration(namespace)[1].root or DEFAULT_ROOT

    def carriage(self, namespace: str) -> Carriage:
        """How data gets to the namespace's steps and from them. Raises ConfigurationProblem."""
        _, configuration = self._configuration(namespace)
        if not configuration.sources:
            return self._defaults
        return msgspec.structs.replace(self._defaults, sources=(*configuration.sources, *self._defaults.sources))

    async def of(self, namespace: str) -> RoutedObjectStore:
        """The namespace's object store. Raises ConfigurationProblem."""
        sources = self.carriage(namespace).sources
        if not sources:
            return self._unconfigured
        version, _ = self._configuration(namespace)
        opened, now = self._opened.get(namespace), self._clock.monotonic()
        if opened is not None and opened.version == version and now < opened.until:
            return opened.store
        table = await self._with_credentials(namespace, sources)
        store = opened.store if opened is not None and list(opened.store.remote.table) == table else None
        store = store or RoutedObjectStore(RemoteObjectStore(table), self._here)
        self._opened[namespace] = _Opened(version, now + SECRETS_FRESH, store)
        return store

    def seen_from(self, namespace: str) -> ObjectStore:
        """The namespace's object store as it is whenever it is asked."""
        return _SeenFrom(self, namespace)

    def _configuration(self, namespace: str) -> tuple[str, Configuration]:
        """With the version of what it was read from."""
        found = self._config_maps.get(ObjectKey(namespace, CONFIG_MAP))
        if found is None:
            return "", Configuration()
        version = found.metadata.resource_version
        known = self._read.get(namespace)
        if known is None or known[0] != version:
            known = self._read[namespace] = (version, read_configuration(found.data))
        return known

    async def _with_credentials(self, namespace: str, sources: Sequence[Source]) -> list[Place]:
        secrets: dict[str, Secret] = {}
        table: list[Place] = []
        for source in sources:
            credentials: dict[str, str] = {}
            for name, where in source.secrets.items():
                if where.name not in secrets:
                    secrets[where.name] = await self._secret(namespace, where.name, source.place)
                credentials[name] = _value(secrets[where.name], where, source.place)
            table.append(msgspec.structs.replace(source.place, credentials=credentials))
        return table

    async def _secret(self, namespace: str, name: str, place: Place) -> Secret:
        try:
            return await self._client.get(Secret, name, namespace)
        except (NotFound, Forbidden) as error:
            raise ConfigurationProblem(
                f"the credentials of the {place.scheme} store: Secret {name} in namespace {namespace} cannot be "
                f"read: {error}"
            ) from error


@dataclass(frozen=True, slots=True)
class _SeenFrom:
    stores: Stores
    namespace: str

    async def exists(self, uri: str) -> bool:
        return await (await self.stores.of(self.namespace)).exists(uri)

    async def read(self, uri: str, limit: int = -1) -> bytes | None:
        return await (await self.stores.of(self.namespace)).read(uri, limit)

    async def write(self, uri: str, content: bytes) -> None:
        await (await self.stores.of(self.namespace)).write(uri, content)

    async def remove(self, uri: str) -> None:
        await (await self.stores.of(self.namespace)).remove(uri)


def _value(secret: Secret, where: SecretKey, place: Place) -> str:
    problem = f"the credentials of the {place.scheme} store: Secret {where.name}"
    if where.key not in secret.data:
        raise ConfigurationProblem(f'{problem} has no key "{where.key}"')
    try:
        return base64.b64decode(secret.data[where.key]).decode().strip()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ConfigurationProblem(f'{problem}: the value of "{where.key}" is no text: {error}') from error
