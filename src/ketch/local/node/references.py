"""What pods refer to: ConfigMaps and Secrets, each watched by its name; Services, claims and volumes."""

import os
from collections.abc import Callable, Collection, Iterator
from urllib.parse import urlsplit

import msgspec

from ketch.kube.manager import Manager
from ketch.kube.meta import KubeObject, ObjectKey
from ketch.kube.types.core import ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service
from ketch.kube.types.volumes import VolumeProjection
from ketch.local.node.environment import MASTER_SERVICE, ConfigError, Surroundings
from ketch.local.node.named import NamedObjects, NotTold

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _named_config_maps(pod: Pod) -> set[str]:
    names = {volume.config_map.name for volume in pod.spec.volumes if volume.config_map is not None}
    names |= {part.config_map.name for part in _projections(pod) if part.config_map is not None}
    for container in pod.spec.every_container():
        names |= {source.config_map_ref.name for source in container.env_from if source.config_map_ref is not None}
        for variable in container.env:
            if variable.value_from is not None and variable.value_from.config_map_key_ref is not None:
                names.add(variable.value_from.config_map_key_ref.name)
    return names


def _named_secrets(pod: Pod) -> set[str]:
    names = {volume.secret.secret_name for volume in pod.spec.volumes if volume.secret is not None}
    names |= {part.secret.name for part in _projections(pod) if part.secret is not None}
    for container in pod.spec.every_container():
        names |= {source.secret_ref.name for source in container.env_from if source.secret_ref is not None}
        for variable in container.env:
            if variable.value_from is not None and variable.value_from.secret_key_ref is not None:
                names.add(variable.value_from.secret_key_ref.name)
    return names | {reference.name for reference in pod.spec.image_pull_secrets}


def _projections(pod: Pod) -> Iterator[VolumeProjection]:
    for volume in pod.spec.volumes:
        if volume.projected is not None:
            yield from volume.projected.sources


def reached_at(service: Service, address: str, port: int) -> Service:
    """The Service as if ``address`` and ``port`` were its own."""
    ports = tuple(msgspec.structs.replace(each, port=port) for each in service.spec.ports[:1])
    return msgspec.structs.replace(service, spec=msgspec.structs.replace(service.spec, cluster_ip=address, ports=ports))


class References:
    """The objects that this node's pods refer to. What a pod names is known while it is held."""

    def __init__(self, manager: Manager, node_name: str, host_ip: str) -> None:
        self._changed_for: Callable[[Collection[str]], None] = lambda _: None
        self._config_maps = NamedObjects(manager.client, ConfigMap, manager.clock, self._named_changed)
        self._secrets = NamedObjects(manager.client, Secret, manager.clock, self._named_changed)
        self._services = manager.informer(Service)
        self._claims = manager.informer(PersistentVolumeClaim)
        self._volumes = manager.informer(PersistentVolume)
        self._node_name = node_name
        self._host_ip = host_ip
        self.allocatable: dict[str, str] = {"cpu": str(os.cpu_count() or 1)}
        self.api_server = ""
        """URL of the API server for pods that share the host's network, in which its Service has no address."""

    def on_change(self, changed: Callable[[str], None], changed_for: Callable[[Collection[str]], None]) -> None:
        """Tell ``changed`` the namespace in which a claim or ("") a volume came, changed or went, and ``changed_for``
        the uids of the pods that name what did."""
        self._changed_for = changed_for

        def handler(old: KubeObject | None, new: KubeObject | None) -> None:
            obj = new or old
            if obj is not None:
                changed(obj.metadata.namespace)

        for informer in (self._claims, self._volumes):
            informer.add_handler(handler)

    def _named_changed(self, uids: Collection[str]) -> None:
        self._changed_for(uids)

    async def hold(self, pod: Pod) -> None:
        """Know what the pod names, until it is released. Raises ConfigError."""
        namespace, uid = pod.metadata.namespace, pod.metadata.uid
        config_maps = frozenset(ObjectKey(namespace, name) for name in _named_config_maps(pod))
        secrets = frozenset(ObjectKey(namespace, name) for name in _named_secrets(pod))
        self._config_maps.hold(uid, config_maps)
        self._secrets.hold(uid, secrets)
        try:
            await self._config_maps.told(config_maps)
            await self._secrets.told(secrets)
        except NotTold as error:
            raise ConfigError(str(error)) from error

    def release(self, uid: str) -> None:
        """The pod needs nothing any more."""
        self._config_maps.hold(uid, frozenset())
        self._secrets.hold(uid, frozenset())

    async def close(self) -> None:
        """Watch nothing any more."""
        await self._config_maps.close()
        await self._secrets.close()

    def around(self, pod: Pod, pod_ip: str) -> Surroundings:
        """What the pod's values may refer to."""
        namespace = pod.metadata.namespace
        return Surroundings(
            pod_ip=pod_ip,
            host_ip=self._host_ip,
            node_name=self._node_name,
            allocatable=self.allocatable,
            config_maps={name: self._config_maps.get(ObjectKey(namespace, name)) for name in _named_config_maps(pod)},
            secrets={name: self._secrets.get(ObjectKey(namespace, name)) for name in _named_secrets(pod)},
            services=tuple(self._reachable_services(namespace)),
        )

    def _reachable_services(self, namespace: str) -> Iterator[Service]:
        api = urlsplit(self.api_server)
        for service in (*self._services.list(namespace), *self._services.list("default")):
            is_api = (service.metadata.namespace, service.metadata.name) == MASTER_SERVICE
            here = api.hostname in LOOPBACK
            address = self._host_ip if here else api.hostname or ""
            yield reached_at(service, address, api.port or 443) if is_api and api.hostname else service

    def claim(self, namespace: str, name: str) -> tuple[PersistentVolumeClaim | None, PersistentVolume | None]:
        """A claim, and the volume that it is bound to."""
        claim = self._claims.get(ObjectKey(namespace, name))
        if claim is None or not claim.spec.volume_name:
            return claim, None
        return claim, self._volumes.get(ObjectKey("", claim.spec.volume_name))
