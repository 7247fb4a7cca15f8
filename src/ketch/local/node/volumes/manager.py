"""All volumes of one pod: prepared together, kept up to date, given back."""

import asyncio
import contextlib
import os
from dataclasses import dataclass
from datetime import datetime, timedelta

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.codec import parse_time
from ketch.kube.types.core import Pod, ServiceAccount
from ketch.kube.types.volumes import ServiceAccountTokenProjection, Volume
from ketch.local.node.environment import ConfigError
from ketch.local.node.references import References
from ketch.local.node.volumes.directory import write_files
from ketch.local.node.volumes.payload import is_payload, payload, token_projections
from ketch.local.node.volumes.places import (
    Folders,
    Place,
    claim_place,
    empty_dir_place,
    host_place,
    object_place,
    remove_objects,
    remove_trees,
)

TOKEN_SECONDS = 3600
RENEW_AT = 0.8


@dataclass(frozen=True)
class _Token:
    """A token, and when to ask for the next one."""

    value: bytes
    renew_at: datetime


class PodVolumes:
    """The volumes of one pod. ``places`` holds what is ready, by volume name."""

    def __init__(self, client: Client, clock: Clock, folders: Folders, references: References) -> None:
        self.places: dict[str, Place] = {}
        self._client = client
        self._clock = clock
        self._folders = folders
        self._references = references
        self._tokens: dict[tuple[str, str], _Token] = {}
        # One at a time: of two that write the same files, the one with older facts might be the last.
        self._writing = asyncio.Lock()

    @property
    def renew_at(self) -> datetime | None:
        """When the next token is to be renewed; None without tokens."""
        return min((token.renew_at for token in self._tokens.values()), default=None)

    async def prepare(self, pod: Pod) -> None:
        """Put every volume in place. Raises ConfigError, APIError, TransportError, OSError."""
        async with self._writing:
            for volume in pod.spec.volumes:
                self.places[volume.name] = await self._prepare(pod, volume)

    async def refresh(self, pod: Pod) -> None:
        """Bring volumes made of objects up to date; one whose objects are gone keeps what it has."""
        async with self._writing:
            for volume in filter(is_payload, pod.spec.volumes):
                with contextlib.suppress(ConfigError):
                    await self._prepare(pod, volume)

    async def release(self, pod: Pod) -> None:
        """Remove what lives no longer than the pod."""
        self.places.clear()
        uid = pod.metadata.uid
        remove_objects(self._folders, uid)
        await remove_trees(self._folders.of_pod(uid) / "volumes", self._folders.of_memory(uid))

    async def _prepare(self, pod: Pod, volume: Volume) -> Place:
        what = f'MountVolume.SetUp failed for volume "{volume.name}"'
        if is_payload(volume):
            return await self._payload(pod, volume, what)
        if volume.empty_dir is not None:
            return empty_dir_place(self._folders, pod, volume)
        if volume.csi is not None:
            return object_place(self._folders, volume.csi, what)
        if volume.host_path is not None:
            return host_place(self._folders, volume.host_path, what, os.environ)
        if volume.persistent_volume_claim is not None or volume.ephemeral is not None:
            source = volume.persistent_volume_claim
            name = source.claim_name if source is not None else f"{pod.metadata.name}-{volume.name}"
            claim, bound = self._references.claim(pod.metadata.namespace, name)
            place = claim_place(self._folders, claim, bound, name, what)
            return Place(place.path, place.read_only or bool(source and source.read_only))
        if set(volume.unknown_fields):
            raise ConfigError(f"{what}: this node cannot mount volumes of kind {', '.join(volume.unknown_fields)}")
        return empty_dir_place(self._folders, pod, Volume(name=volume.name))

    async def _payload(self, pod: Pod, volume: Volume, what: str) -> Place:
        tokens = {(each.audience, each.path): await self._token(pod, each) for each in token_projections(volume)}

        def token(projection: ServiceAccountTokenProjection) -> bytes:
            return tokens[projection.audience, projection.path]

        try:
            files = payload(pod, volume, self._references.around(pod, pod.status.pod_ip), token)
        except ConfigError as error:
            raise ConfigError(f"{what} : {error}") from error
        path = self._folders.of_objects(pod.metadata.uid) / volume.name
        write_files(path, files)  # a few kilobytes: a thread would take longer to begin
        return Place(path, read_only=True)

    async def _token(self, pod: Pod, projection: ServiceAccountTokenProjection) -> bytes:
        key, now = (projection.audience, projection.path), self._clock.now()
        known = self._tokens.get(key)
        if known is not None and now < known.renew_at:
            return known.value
        meta = pod.metadata
        spec = {
            "audiences": [projection.audience] if projection.audience else [],
            "expirationSeconds": projection.expiration_seconds or TOKEN_SECONDS,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid},
        }
        account = pod.spec.service_account_name or "default"
        answer = await self._client.create_subresource(ServiceAccount, account, meta.namespace, "token", {"spec": spec})
        status = answer["status"]
        lifetime: timedelta = parse_time(status["expirationTimestamp"]) - now
        token = self._tokens[key] = _Token(status["token"].encode(), now + lifetime * RENEW_AT)
        return token.value
