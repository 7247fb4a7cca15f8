"""A service account's tokens: what may be asked for, and what a token may live with."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ketch.kube.causes import invalid, required, unsupported
from ketch.kube.codec import format_time
from ketch.kube.errors import Cause, Conflict, Invalid, NotFound, StatusDetails
from ketch.local.apiserver.absent import NOTHING
from ketch.local.apiserver.auth.tokens import DEFAULT_SECONDS, ISSUER, LONGEST_SECONDS, SHORTEST_SECONDS, Tokens
from ketch.local.apiserver.requests import Call, section, texts
from ketch.local.apiserver.store.records import StoreKey
from ketch.local.apiserver.store.store import Store

GROUP = "authentication.k8s.io"
BINDABLE: Mapping[str, str] = {"Pod": "/pods", "Secret": "/secrets", "Node": "/nodes"}
"""Kinds whose objects a token may live with, and where these are kept."""


class TokenRequests:
    """Answers TokenRequests."""

    def __init__(self, store: Store, tokens: Tokens) -> None:
        self._store = store
        self._tokens = tokens

    def answer(self, call: Call, account: Mapping[str, Any]) -> dict[str, Any]:
        """The request with its token. Raises Invalid, NotFound, Conflict, BadRequest."""
        body = call.object_body("TokenRequest")
        spec = section(body, "spec")
        seconds = spec.get("expirationSeconds") or DEFAULT_SECONDS
        if not isinstance(seconds, int) or seconds < SHORTEST_SECONDS:
            raise _invalid(
                invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
            )
        if seconds > LONGEST_SECONDS:
            message = f"may not specify a duration longer than {LONGEST_SECONDS} seconds"
            raise _invalid(invalid("spec.expirationSeconds", seconds, message))
        audiences = texts(spec, "audiences")
        bound = self._bound(section(spec, "boundObjectRef"), account["metadata"]["namespace"])
        token, expires = self._tokens.mint(account, audiences, seconds, bound)
        return {
            **body,
            "kind": "TokenRequest",
            "apiVersion": f"{GROUP}/v1",
            "metadata": body.get("metadata") or {},
            "spec": {**spec, "audiences": list(audiences) or [ISSUER], "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": format_time(datetime.fromtimestamp(expires, UTC))},
        }

    def _bound(self, asked: Mapping[str, Any], namespace: str) -> dict[str, dict[str, str]]:
        """The objects that a token is told of, by kind: what it lives with, and the node of a pod."""
        if not asked:
            return {}
        kind, name = str(asked.get("kind", "")), str(asked.get("name", ""))
        if kind not in BINDABLE:
            raise _invalid(unsupported("spec.boundObjectRef.kind", kind, list(BINDABLE)))
        if not name:
            raise _invalid(required("spec.boundObjectRef.name"))
        found = self._find(kind, namespace, name)
        if found is None:
            plural = BINDABLE[kind].lstrip("/")
            raise NotFound(f'{plural} "{name}" not found', StatusDetails(name=name, kind=plural))
        uid = found["metadata"]["uid"]
        if asked.get("uid", uid) != uid:
            why = f"the UID in the bound object reference ({asked['uid']}) does not match the UID in record ({uid})"
            raise Conflict(f'Operation cannot be fulfilled on {kind.lower()} "{name}": {why}')
        bound = {kind.lower(): {"name": name, "uid": uid}}
        node = (found.get("spec") or NOTHING).get("nodeName") if kind == "Pod" else None
        if node and (on := self._find("Node", "", node)) is not None:
            bound["node"] = {"name": node, "uid": on["metadata"]["uid"]}
        return bound

    def _find(self, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        record = self._store.get(StoreKey(BINDABLE[kind], "" if kind == "Node" else namespace, name))
        return record.value if record is not None else None


def _invalid(cause: Cause) -> Invalid:
    details = StatusDetails(group=GROUP, kind="TokenRequest", causes=(cause,))
    return Invalid(f'TokenRequest.{GROUP} "" is invalid: {cause.field}: {cause.message}', details)
