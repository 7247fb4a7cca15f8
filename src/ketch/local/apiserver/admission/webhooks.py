"""Webhooks: registrations as the store has them, who is asked about a write, and what comes of it."""

import asyncio
import base64
import binascii
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import orjson

from ketch.kube.errors import APIError, BadRequest, Forbidden, InternalError, StatusDetails, error_from_status
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.admission.asked import Asked
from ketch.local.apiserver.admission.calls import Caller, CallError, Dial
from ketch.local.apiserver.admission.matching import EXEMPT, in_scope, version_for
from ketch.local.apiserver.admission.places import Place, Unplaced, place_of
from ketch.local.apiserver.auth.rbac import Authorizer
from ketch.local.apiserver.patches.jsonpatch import json_patch
from ketch.local.apiserver.resources import Registry, ServedResource
from ketch.local.apiserver.store.records import Change
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.strategies.base import Listing, Lookup

GROUP = "admissionregistration.k8s.io"
MUTATING, VALIDATING = f"{GROUP}/mutatingwebhookconfigurations", f"{GROUP}/validatingwebhookconfigurations"
DEFAULT_SECONDS = 10


class Hook:
    """One webhook of a registration."""

    def __init__(self, raw: Mapping[str, Any], dial: Dial) -> None:
        self.raw = raw
        self.name: str = raw["name"]
        self.client: Mapping[str, Any] = raw.get("clientConfig") or NOTHING
        self.fails_open = raw.get("failurePolicy") == "Ignore"
        self.seconds: int = raw.get("timeoutSeconds") or DEFAULT_SECONDS
        self.again = raw.get("reinvocationPolicy") == "IfNeeded"
        self.caller = Caller(self.client.get("caBundle") or "", dial)


class Answered:
    """What a webhook said."""

    def __init__(self, response: Mapping[str, Any]) -> None:
        self.allowed = response.get("allowed") is True
        self.status: Mapping[str, Any] = response.get("status") or NOTHING
        self.warnings = [str(text) for text in response.get("warnings") or NO_ITEMS]
        self.annotations: Mapping[str, str] = response.get("auditAnnotations") or NOTHING
        self.patch: Any = None
        if response.get("patch"):
            if response.get("patchType") != "JSONPatch":
                raise CallError(f"unsupported patch type: {response.get('patchType')}")
            try:
                self.patch = orjson.loads(base64.b64decode(response["patch"]))
            except (ValueError, binascii.Error) as error:
                raise CallError(f"the patch cannot be read: {error}") from error


class Webhooks:
    """All registrations, current with every committed write."""

    def __init__(
        self, store: Store, registry: Registry, authorizer: Authorizer, lookup: Lookup, listing: Listing, dial: Dial
    ) -> None:
        self._store = store
        self._registry = registry
        self._authorizer = authorizer
        self._lookup = lookup
        self._listing = listing
        self._dial = dial
        self.mutating: Sequence[Hook] = ()
        self.validating: Sequence[Hook] = ()
        for storage in (MUTATING, VALIDATING):
            store.observe(storage, self._changed)
        self._read()

    def _changed(self, _: Change) -> None:
        self._read()

    def _read(self) -> None:
        before = (*self.mutating, *self.validating)
        self.mutating = tuple(self._hooks(MUTATING, self.mutating))
        self.validating = tuple(self._hooks(VALIDATING, self.validating))
        now = {*self.mutating, *self.validating}
        for hook in before:
            if hook not in now:
                hook.caller.close()

    def _hooks(self, storage: str, before: Sequence[Hook]) -> Iterator[Hook]:
        known = {id(hook.raw): hook for hook in before}
        for record in self._store.list(storage):
            for raw in record.value.get("webhooks") or NO_ITEMS:
                yield known.get(id(raw)) or Hook(raw, self._dial)

    def close(self) -> None:
        """Drop the connections."""
        for hook in (*self.mutating, *self.validating):
            hook.caller.close()

    # who is asked -------------------------------------------------------------------------------------------------

    def _concerned(self, hook: Hook, asked: Asked) -> ServedResource | None:
        """The version in which the hook is to see the write; None when it is not. Raises APIError."""
        if asked.resource.storage in EXEMPT:
            return None
        rules: Sequence[Mapping[str, Any]] = hook.raw.get("rules") or NO_ITEMS
        equivalent = hook.raw.get("matchPolicy", "Equivalent") == "Equivalent"
        version = version_for(asked, rules, self._registry, equivalent=equivalent)
        if version is None or not in_scope(asked, hook.raw, self._lookup):
            return None
        if hook.raw.get("matchConditions") and not self._holds(hook, asked.in_version(version)):
            return None
        return version

    def _holds(self, hook: Hook, asked: Asked) -> bool:
        from ketch.local.apiserver.admission.conditions import Variables, all_hold  # noqa: PLC0415  # deferred: 20 ms
        from ketch.local.apiserver.cel.errors import CELError  # noqa: PLC0415  # as above

        namespace = self._lookup("/namespaces", "", asked.namespace) if asked.namespace else None
        try:
            return all_hold(hook.raw, Variables(asked, namespace, self._authorizer))
        except CELError as error:
            if hook.fails_open:
                return False
            raise _forbidden(asked, f'admission webhook "{hook.name}": {error}') from error

    # asking -------------------------------------------------------------------------------------------------------

    async def mutate(self, asked: Asked, warnings: list[str]) -> Mapping[str, Any] | None:
        """The object as the webhooks want it. Raises APIError for a refusal."""
        obj = asked.obj
        seen: dict[Hook, Mapping[str, Any] | None] = {}
        for round_of in (self.mutating, tuple(hook for hook in self.mutating if hook.again)):
            for hook in round_of:
                if hook in seen and seen[hook] == obj:
                    continue
                now = replace(asked, obj=obj)
                version = self._concerned(hook, now)
                if version is None or (round_of is not self.mutating and hook not in seen):
                    continue
                obj = await self._changed_by(hook, now, version, warnings)
                seen[hook] = obj
        return obj

    async def _changed_by(
        self, hook: Hook, asked: Asked, version: ServedResource, warnings: list[str]
    ) -> Mapping[str, Any] | None:
        answer = await self._ask(hook, asked, version, warnings)
        if answer is None or answer.patch is None:
            return asked.obj
        converted = await asked.converted(version)
        if converted.obj is None:
            raise InternalError(f'admission webhook "{hook.name}" attempted to modify an object that is being deleted')
        try:
            changed = json_patch(converted.obj, answer.patch)
        except APIError as error:
            if hook.fails_open:
                return asked.obj
            why = f'failed to apply the patch of webhook "{hook.name}": {error.message}'
            raise InternalError(f"Internal error occurred: {why}") from error
        return (await replace(converted, obj=changed).converted(asked.resource)).obj

    async def validate(self, asked: Asked, warnings: list[str]) -> None:
        """Ask all that are concerned, at once. Raises APIError for the first refusal."""
        concerned = [(hook, version) for hook in self.validating if (version := self._concerned(hook, asked))]
        if not concerned:
            return
        outcomes = await asyncio.gather(
            *(self._ask(hook, asked, version, warnings) for hook, version in concerned), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _ask(self, hook: Hook, asked: Asked, version: ServedResource, warnings: list[str]) -> Answered | None:
        """What the hook says, None where its failure is to be ignored. Raises APIError for a refusal or a failure."""
        if asked.dry_run and hook.raw.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise BadRequest(f'admission webhook "{hook.name}" does not support dry run')
        uid = str(uuid.uuid4())
        review_version = next(
            (each for each in hook.raw.get("admissionReviewVersions") or NO_ITEMS if each in ("v1", "v1beta1")), "v1"
        )
        review = {
            "kind": "AdmissionReview",
            "apiVersion": f"admission.k8s.io/{review_version}",
            "request": (await asked.converted(version)).request(uid, asked),
        }
        try:
            answer = _read_review(await hook.caller.post(self._place(hook), review, hook.seconds), uid)
        except CallError as error:
            if hook.fails_open:
                return None
            why = f'failed calling webhook "{hook.name}": failed to call webhook: {error}'
            raise InternalError(f"Internal error occurred: {why}") from error
        warnings += answer.warnings
        if not answer.allowed:
            raise _refusal(hook, answer)
        return answer

    def _place(self, hook: Hook) -> Place:
        """Where the hook is. Raises CallError."""
        try:
            return place_of(hook.client, self._lookup, self._listing)
        except Unplaced as error:
            raise CallError(str(error)) from None


def _read_review(review: Any, uid: str) -> Answered:
    response = cast("Mapping[str, Any]", review).get("response") if isinstance(review, dict) else None
    if not isinstance(response, dict):
        raise CallError("the answer has no response")
    found = cast("Mapping[str, Any]", response)
    if found.get("uid") != uid:
        raise CallError(f'expected response.uid="{uid}", got "{found.get("uid")}"')
    return Answered(found)


def _refusal(hook: Hook, answer: Answered) -> APIError:
    message, code = str(answer.status.get("message") or ""), answer.status.get("code") or 403
    why = f'admission webhook "{hook.name}" denied the request'
    status = {**answer.status, "message": f"{why}: {message}" if message else f"{why} without explanation"}
    status["reason"] = answer.status.get("reason") or ("Forbidden" if code == 403 else "")
    return error_from_status(status, int(code))


def _forbidden(asked: Asked, why: str) -> Forbidden:
    resource = asked.resource
    details = StatusDetails(name=asked.name, group=resource.group, kind=resource.plural)
    return Forbidden(f'{resource.qualified} "{asked.name}" is forbidden: {why}', details)
