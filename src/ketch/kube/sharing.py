"""Objects decoded once for all who get them, and kept without what nobody will ask for.

A transport within the server's process hands out the server's own JSON, which nobody changes: what is made of it is
frozen, so one of it is enough for several informers and whoever wrote the object.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from ketch.kube.codec import KubeStruct, decode
from ketch.kube.types.containers import Container
from ketch.kube.types.pods import Pod

REMEMBERED: Final = 600
"""Objects for which another reader may still come; readers take turns after a few hundred."""

S = TypeVar("S", bound=KubeStruct)


class Shared:
    """Remembers what it decoded last, by the object's uid and version, which only one value ever has."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._known: dict[tuple[type[Any], str, str], Any] = {}

    def decode(self, kind: type[S], raw: Mapping[str, Any]) -> S:
        """``raw``, which nobody may change any more, as a value of ``kind``."""
        metadata: Mapping[str, Any] = raw.get("metadata") or {}
        uid, version = metadata.get("uid"), metadata.get("resourceVersion")
        if not uid or not version:
            return decode(kind, raw)  # none that is stored
        identity = (kind, uid, version)
        known = self._known.get(identity)
        if known is not None:
            return known
        value = decode(kind, raw)
        if len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[identity] = value
        return value


class Lean:
    """What informers keep of objects: of each version the same, however many keep it.

    ``reduce`` gives back the object itself where there is nothing to leave out.
    """

    def __init__(self, reduce: Callable[[Any], Any], most: int = REMEMBERED) -> None:
        self._reduce, self._most = reduce, most
        self._known: dict[int, tuple[Any, Any]] = {}

    def __call__(self, obj: Any) -> Any:
        """The object as it is kept."""
        known = self._known.get(id(obj))
        if known is not None:
            return known[1]
        kept = self._reduce(obj)
        if kept is not obj:
            if len(self._known) >= self._most:
                del self._known[next(iter(self._known))]
            self._known[id(obj)] = (obj, kept)
        return kept


def without_work(pod: Pod) -> Pod:
    """A pod that has ended, without what its containers were to do: no controller asks for that any more.

    Claims stay, which it may still hold; so do names and images, and all of its status.
    """
    if pod.status.phase not in ("Succeeded", "Failed"):
        return pod
    spec = pod.spec
    return msgspec.structs.replace(
        pod,
        spec=msgspec.structs.replace(
            spec,
            containers=tuple(map(_named, spec.containers)),
            init_containers=tuple(map(_named, spec.init_containers)),
            ephemeral_containers=(),
            volumes=tuple([each for each in spec.volumes if each.persistent_volume_claim or each.ephemeral]),
            tolerations=(),
        ),
    )


def _named(container: Container) -> Container:
    return Container(
        name=container.name,
        image=container.image,
        resources=container.resources,
        ports=container.ports,
        restart_policy=container.restart_policy,
    )
