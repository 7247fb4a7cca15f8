"""What a domain decides about its kinds before they are stored: they are completed, then checked.

Pure: an object in, an object or causes out. The embedded API server asks in-process; on a cluster the same class stands
behind a webhook. What is completed here is stored and seen by users; what is only understood belongs to controllers.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from ketch.kube.codec import decode
from ketch.kube.errors import Cause
from ketch.kube.meta import KubeObject

K = TypeVar("K", bound=KubeObject)
Other = TypeVar("Other", bound=KubeObject)


class View(Protocol):
    """Other objects, as the write that is being decided will find them; and when that is."""

    now: datetime

    def get(self, kind: type[Other], namespace: str, name: str) -> Other | None:
        """The object; None when there is none."""
        ...


class Admission(Generic[K]):
    """Completes and checks one kind; both come after schema defaults and see whole objects.

    ``old`` is None for a new object. A domain overrides what it needs.
    """

    kind: type[K]

    def complete(self, obj: K, old: K | None, view: View) -> K:  # noqa: ARG002  # for those who override it
        """``obj`` with what its author left open."""
        return obj

    def check(self, obj: K, old: K | None, view: View) -> Iterable[Cause]:  # noqa: ARG002  # for those who override it
        """What is wrong with ``obj``; nothing when it may be stored."""
        return ()

    def warn(self, obj: K, old: K | None, view: View) -> Iterable[str]:  # noqa: ARG002  # for those who override it
        """What its author should be told of an ``obj`` that may be stored; kubectl and clients show it."""
        return ()


class Judgement(NamedTuple):
    """What is wrong with an object, and what its author should be told."""

    causes: Sequence[Cause] = ()
    warnings: Sequence[str] = ()


def completed(
    admission: Admission[Any], obj: Mapping[str, Any], old: Mapping[str, Any] | None, view: View
) -> Mapping[str, Any]:
    """The parts of a written object (JSON) as they are once it is complete; a status alone needs nothing."""
    if old is not None and _same_to_domains(obj, old):
        return {}
    given = decode(admission.kind, obj)
    complete = admission.complete(given, None if old is None else decode(admission.kind, old), view)
    if complete is given:
        return {}
    return {name: item for name, item in complete.to_json().items() if name != "status"}


def judged(admission: Admission[Any], obj: Mapping[str, Any], old: Mapping[str, Any] | None, view: View) -> Judgement:
    """What the domain says of a complete object (JSON); not asked about one that is going, or whose status alone is
    written."""
    if old is not None and ("deletionTimestamp" in obj["metadata"] or _same_to_domains(obj, old)):
        return Judgement()
    before, after = None if old is None else decode(admission.kind, old), decode(admission.kind, obj)
    causes = tuple(admission.check(after, before, view))
    return Judgement(causes, () if causes else tuple(admission.warn(after, before, view)))


def _same_to_domains(obj: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether nothing differs that a domain may read: it reads labels and annotations, too."""
    metadata, before = obj["metadata"], old["metadata"]
    return (obj.get("spec"), metadata.get("labels"), metadata.get("annotations")) == (
        old.get("spec"),
        before.get("labels"),
        before.get("annotations"),
    )
