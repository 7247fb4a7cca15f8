"""An AdmissionReview answered by a domain's admissions."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast

import orjson

from ketch.kube.admission import Admission, Judgement, completed, judged
from ketch.kube.client import Reader
from ketch.kube.clock import Clock
from ketch.kube.errors import BadRequest, Invalid, NotFound, StatusDetails
from ketch.kube.meta import KubeObject

K = TypeVar("K", bound=KubeObject)

API_VERSION, KIND = "admission.k8s.io/v1", "AdmissionReview"
MUTATE, VALIDATE = "/mutate", "/validate"
MOST_LOOKS = 8
"""An admission is asked again with what it missed: so often at most."""

_ENCODED = str.maketrans({"~": "~0", "/": "~1"})


class Looked:
    """What was looked up so far; what is asked beyond it is noted."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.found: dict[tuple[type[KubeObject], str, str], Any] = {}
        self.missed: list[tuple[type[KubeObject], str, str]] = []

    def get(self, kind: type[K], namespace: str, name: str) -> K | None:
        """The object; None when there is none, or nobody has looked yet."""
        key = (kind, namespace, name)
        if key not in self.found:
            self.missed.append(key)
        return self.found.get(key)


class Reviewer:
    """Answers for ``admissions``; other objects are read by ``client`` as they are now."""

    def __init__(self, admissions: Sequence[Admission[Any]], client: Reader, clock: Clock) -> None:
        self._admissions = {each.kind.resource.kind: each for each in admissions}
        self._client = client
        self._clock = clock

    async def answer(self, path: str, review: Mapping[str, Any]) -> dict[str, Any]:
        """The review with its response. Raises BadRequest, APIError, TransportError."""
        request: Mapping[str, Any] = review.get("request") or {}
        kind: Mapping[str, str] = request.get("kind") or {}
        admission = self._admissions.get(kind.get("kind", ""))
        if review.get("kind") != KIND or admission is None or path not in (MUTATE, VALIDATE):
            raise BadRequest(f"expected an {KIND} about one of {', '.join(sorted(self._admissions))}")
        obj, old = request.get("object"), request.get("oldObject")
        response: dict[str, Any] = {"uid": request.get("uid", ""), "allowed": True}
        if obj is not None:
            if path == MUTATE:
                response |= _patch(obj, await self.complete(admission, obj, old))
            else:
                response |= _verdict(admission, obj, await self.judge(admission, obj, old))
        return {"apiVersion": API_VERSION, "kind": KIND, "response": response}

    async def complete(
        self, admission: Admission[Any], obj: Mapping[str, Any], old: Mapping[str, Any] | None
    ) -> Mapping[str, Any]:
        """The parts of an object as they are once it is complete. Raises APIError, TransportError."""
        looked = Looked(self._clock.now())
        for _ in range(MOST_LOOKS):
            parts = completed(admission, obj, old, looked)
            if not await self._look(looked):
                return parts
        return completed(admission, obj, old, looked)

    async def judge(
        self, admission: Admission[Any], obj: Mapping[str, Any], old: Mapping[str, Any] | None
    ) -> Judgement:
        """What the domain says of an object. Raises APIError, TransportError."""
        looked = Looked(self._clock.now())
        for _ in range(MOST_LOOKS):
            judgement = judged(admission, obj, old, looked)
            if not await self._look(looked):
                return judgement
        return judged(admission, obj, old, looked)

    async def _look(self, looked: Looked) -> bool:
        """Fetch what was missed; whether there was anything."""
        missed, looked.missed = looked.missed, []
        for kind, namespace, name in missed:
            try:
                looked.found[kind, namespace, name] = await self._client.get(kind, name, namespace)
            except (NotFound, BadRequest):  # no such object, or no name that an object can have
                looked.found[kind, namespace, name] = None
        return bool(missed)


def difference(before: Any, after: Any, path: str = "") -> Iterator[dict[str, Any]]:
    """A JSON patch that makes ``before`` into ``after``; lists that differ are replaced whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        known, wanted = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
        for name in known.keys() - wanted.keys():
            yield {"op": "remove", "path": f"{path}/{name.translate(_ENCODED)}"}
        for name, value in wanted.items():
            below = f"{path}/{name.translate(_ENCODED)}"
            if name not in known:
                yield {"op": "add", "path": below, "value": value}
            else:
                yield from difference(known[name], value, below)
    elif before != after:
        yield {"op": "replace", "path": path, "value": after}


def _patch(obj: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    operations = list(difference(dict(obj), {**obj, **parts}))
    if not operations:
        return {}
    return {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(operations)).decode()}


def _verdict(admission: Admission[Any], obj: Mapping[str, Any], judgement: Judgement) -> dict[str, Any]:
    told: dict[str, Any] = {"warnings": list(judgement.warnings)} if judgement.warnings else {}
    if not judgement.causes:
        return told
    resource, name = admission.kind.resource, str(obj["metadata"].get("name", ""))
    details = StatusDetails(name=name, group=resource.group, kind=resource.kind, causes=tuple(judgement.causes))
    status = Invalid(reasons(judgement), details).status_body()
    return {**told, "allowed": False, "status": {key: status[key] for key in ("message", "reason", "details", "code")}}


def reasons(judgement: Judgement) -> str:
    """All causes in one line, as the API server words them."""
    texts = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in judgement.causes]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
