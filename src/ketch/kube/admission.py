"""What a domain decides about its kinds before they are stored: they are completed, then checked.

Pure: an object in, an object or causes out. The embedded API server asks in-process; on a cluster the same class stands
behind a webhook. What is completed here is stored and seen by users; what is only understood belongs to controllers.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Generic, Protocol, TypeVar

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
