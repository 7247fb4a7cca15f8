"""The ordinary strategy, and what a strategy may see."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ketch.kube.errors import Cause
from ketch.local.apiserver.auth.identity import UserInfo

Obj = dict[str, Any]
Lookup = Callable[[str, str, str], Mapping[str, Any] | None]
Listing = Callable[[str, str | None], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Context:
    """The server as a strategy sees it.

    ``newest(storage, namespace, name)`` is an object as the next writer must see it; ``listing(storage, namespace)``
    the committed objects. ``warnings`` is what the sender will be told beside the answer.
    ``subresource`` is said of writes to others than the status.
    """

    user: UserInfo
    now: datetime
    newest: Lookup
    listing: Listing
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list[str])
    subresource: str = ""

    def warn(self, text: str) -> None:
        """Tell the sender, once."""
        if text not in self.warnings:
            self.warnings.append(text)


class Strategy:
    """What every kind does unless it says otherwise."""

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """Complete a new object, after defaulting. May raise APIError (Forbidden, NotFound)."""

    def prepare_update(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        """Complete a changed object; ``status`` was already taken over from ``old`` where it is a subresource."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """What is wrong beyond the schema; ``old`` is None for a new object."""
        return ()

    def grace_seconds(self, obj: Mapping[str, Any], asked: int | None) -> int:
        """How long the object lives on after its deletion was asked for; 0 removes it at once."""
        return 0

    def deletion_hooks(self, obj: Mapping[str, Any]) -> bool:
        """Whether something besides ``metadata.finalizers`` holds the object."""
        return False

    def begin_deletion(self, obj: Obj) -> None:
        """Mark an object whose deletion begins but must wait."""

    def created(self, obj: Mapping[str, Any]) -> None:
        """The object is on disk."""

    def abandoned(self, obj: Mapping[str, Any]) -> None:
        """The object that ``prepare_create`` completed was not created after all."""

    def removed(self, obj: Mapping[str, Any]) -> None:
        """The object is gone from the disk."""


ORDINARY = Strategy()
