"""Kinds that a domain decides about: its admission, asked before anything is stored."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ketch.kube.admission import Admission
from ketch.kube.codec import decode
from ketch.kube.errors import Cause
from ketch.kube.meta import KubeObject
from ketch.local.apiserver.resources import storage_of
from ketch.local.apiserver.strategies.base import Context, Obj, Strategy

K = TypeVar("K", bound=KubeObject)


class StoreView:
    """Other objects as the next writer must see them."""

    def __init__(self, context: Context) -> None:
        self._newest = context.newest
        self.now = context.now

    def get(self, kind: type[K], namespace: str, name: str) -> K | None:
        """The object; None when there is none."""
        found = self._newest(storage_of(kind.resource.group, kind.resource.plural), namespace, name)
        return None if found is None else decode(kind, found)


class AdmittedStrategy(Strategy):
    """Asks the kind's ``Admission``. Values of the right shape only reach it: the schema comes first."""

    def __init__(self, admission: Admission[Any]) -> None:
        self._admission = admission

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """Complete a new object."""
        self._complete(obj, None, context)

    def prepare_update(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        """Complete a changed object; a status alone needs nothing."""
        if obj.get("spec") != old.get("spec") or _texts(obj) != _texts(old):
            self._complete(obj, old, context)

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """What the domain says is wrong; an object that is going, or whose status alone changes, is not asked about."""
        if old is not None and (obj.get("spec") == old.get("spec") or "deletionTimestamp" in obj["metadata"]):
            return ()
        admission, view = self._admission, StoreView(context)
        before, after = None if old is None else decode(admission.kind, old), decode(admission.kind, obj)
        found = tuple(admission.check(after, before, view))
        for text in () if found else admission.warn(after, before, view):
            context.warn(text)
        return found

    def _complete(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> None:
        kind = self._admission.kind
        given = decode(kind, obj)
        completed = self._admission.complete(given, None if old is None else decode(kind, old), StoreView(context))
        if completed is not given:
            obj.update({name: item for name, item in completed.to_json().items() if name != "status"})


def _texts(obj: Mapping[str, Any]) -> tuple[Any, Any]:
    return obj["metadata"].get("labels"), obj["metadata"].get("annotations")
