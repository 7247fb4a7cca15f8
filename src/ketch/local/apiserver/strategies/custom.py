"""Kinds that a domain decides about: its admission, asked before anything is stored."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ketch.kube.admission import Admission, completed, judged
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
        obj.update(completed(self._admission, obj, None, StoreView(context)))

    def prepare_update(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        """Complete a changed object."""
        obj.update(completed(self._admission, obj, old, StoreView(context)))

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """What the domain says is wrong."""
        judgement = judged(self._admission, obj, old, StoreView(context))
        for text in judgement.warnings:
            context.warn(text)
        return judgement.causes
