"""Objects of one version as another, by a definition's own webhook."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from ketch.kube.errors import InternalError
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.admission.calls import Caller, CallError, Dial
from ketch.local.apiserver.admission.places import Unplaced, place_of
from ketch.local.apiserver.strategies.base import Listing, Lookup

REVIEW = "apiextensions.k8s.io/v1"
SECONDS = 30.0
FREE = ("labels", "annotations")
"""What of an object's metadata a webhook may change."""

Obj = dict[str, Any]


class WebhookConverter:
    """Asks the webhook of one definition. ``lookup`` and ``listing`` find the Service that it is behind."""

    def __init__(self, definition: Mapping[str, Any], dial: Dial, lookup: Lookup, listing: Listing) -> None:
        webhook = definition["spec"]["conversion"]["webhook"]
        self._client: Mapping[str, Any] = webhook.get("clientConfig") or NOTHING
        self._kind: str = definition["spec"]["names"]["kind"]
        self._caller = Caller(self._client.get("caBundle") or "", dial)
        self._lookup = lookup
        self._listing = listing

    async def converted(self, objects: Sequence[Mapping[str, Any]], api_version: str) -> list[Mapping[str, Any]]:
        """The objects as that version has them, in order. Raises InternalError."""
        foreign = [each for each in objects if each.get("apiVersion") != api_version]
        if not foreign:
            return list(objects)
        made = iter(await self._ask(foreign, api_version))
        return [each if each.get("apiVersion") == api_version else next(made) for each in objects]

    async def _ask(self, objects: Sequence[Mapping[str, Any]], api_version: str) -> list[Obj]:
        uid = str(uuid.uuid4())
        request = {"uid": uid, "desiredAPIVersion": api_version, "objects": objects}
        review = {"kind": "ConversionReview", "apiVersion": REVIEW, "request": request}
        try:
            place = place_of(self._client, self._lookup, self._listing)
            answer = await self._caller.post(place, review, SECONDS)
            return list(_understood(answer, uid, objects, api_version))
        except (CallError, Unplaced) as error:
            source = objects[0].get("apiVersion", "")
            raise InternalError(f"conversion webhook for {source}, Kind={self._kind} failed: {error}") from error

    def close(self) -> None:
        """Drop the connections."""
        self._caller.close()


def _understood(review: Any, uid: str, objects: Sequence[Mapping[str, Any]], api_version: str) -> Iterator[Obj]:
    """What a review's answer holds. Raises CallError for one that is none."""
    response: Any = cast("Obj", review).get("response") if isinstance(review, dict) else None
    if not isinstance(response, dict):
        raise CallError("the answer is no ConversionReview with a response")
    told = cast("Obj", response)
    if told.get("uid") != uid:
        raise CallError(f'expected response.uid="{uid}", got "{told.get("uid")}"')
    result = told.get("result") or NOTHING
    if result.get("status") != "Success":
        raise CallError(str(result.get("message") or f'response.result.status was "{result.get("status", "")}"'))
    made: Sequence[Any] = told.get("convertedObjects") or NO_ITEMS
    if len(made) != len(objects):
        raise CallError(f"webhook returned {len(made)} objects, expected {len(objects)}")
    for index, (new, old) in enumerate(zip(made, objects, strict=True)):
        yield _checked(new, old, api_version, f"response.convertedObjects[{index}]")


def _checked(new: Any, old: Mapping[str, Any], api_version: str, where: str) -> Obj:
    """A converted object, with the identity of the one it was made of. Raises CallError."""
    if not isinstance(new, dict) or not isinstance(cast("Obj", new).get("metadata"), dict):
        raise CallError(f"{where} is no object with metadata")
    made = dict(cast("Obj", new))
    if made.get("apiVersion") != api_version:
        raise CallError(f'{where} has apiVersion "{made.get("apiVersion")}", expected "{api_version}"')
    if made.get("kind") != old.get("kind"):
        raise CallError(f'{where} has kind "{made.get("kind")}", expected "{old.get("kind")}"')
    meta, given = made["metadata"], old.get("metadata") or NOTHING
    for name in ("name", "namespace", "uid"):
        if meta.get(name, given.get(name)) != given.get(name):
            raise CallError(f"{where} has another metadata.{name}: it must not be changed")
    free = {name: meta[name] for name in FREE if meta.get(name)}
    made["metadata"] = {name: item for name, item in given.items() if name not in FREE} | free
    return made
