"""Who may ask a node: whoever the cluster's authority vouches for by a certificate, and its API server says may.

As a kubelet does it with ``--authorization-mode=Webhook``: the question is one about the node's subresources.
"""

import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.errors import APIError, Forbidden, TransportError, Unauthorized

REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
ALLOWED_SECONDS, DENIED_SECONDS = 300.0, 30.0
"""For how long an answer is believed."""

MOST_REMEMBERED = 1000
_SUBRESOURCES = {"usage": "stats", "healthz": "healthz"}
"""By the first part of a path; anything else is ``proxy``."""

_ENTERING = ("exec", "attach", "portForward")
"""What is no reading, although a WebSocket begins with GET."""


class Asker(NamedTuple):
    """Whom a certificate names."""

    name: str
    groups: tuple[str, ...]


class Question(NamedTuple):
    """What one may do with a node."""

    asker: Asker
    verb: str
    subresource: str


def server_context(certificate: Path, key: Path, authority: str) -> ssl.SSLContext:
    """TLS that lets in nobody without a certificate of ``authority`` (PEM). Raises SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(cadata=authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    return context


def asker_of(certificate: Mapping[str, Any]) -> Asker:
    """The common name and the organisations of a certificate as ``ssl`` gives it."""
    parts: Iterable[tuple[str, str]] = [pair for name in certificate.get("subject", ()) for pair in name]
    names = [value for kind, value in parts if kind == "commonName"]
    return Asker(names[0] if names else "", tuple(value for kind, value in parts if kind == "organizationName"))


def question_of(asker: Asker, method: str, path: str) -> Question:
    """What a request comes to."""
    first = path.lstrip("/").partition("/")[0]
    reading = method in ("GET", "HEAD") and first not in _ENTERING
    return Question(asker, "get" if reading else "create", _SUBRESOURCES.get(first, "proxy"))


class NodeAccess:
    """Decides about requests that come by TLS; those on the unix socket come from the platform itself."""

    def __init__(self, client: Client, clock: Clock, node: str) -> None:
        self._client = client
        self._clock = clock
        self._node = node
        self._answers: dict[Question, tuple[bool, float]] = {}

    def middleware(self) -> Middleware:
        """For the node's application."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                await self._admit(request)
            except APIError as error:
                return web.json_response(error.status_body(), status=error.http_code)
            return await handler(request)

        return guarded

    async def _admit(self, request: web.Request) -> None:
        connection = request.transport
        if connection is None or connection.get_extra_info("ssl_object") is None:
            return
        certificate: Any = connection.get_extra_info("peercert")
        if not certificate:
            raise Unauthorized("Unauthorized")
        question = question_of(asker_of(certificate), request.method, request.path)
        if not await self._allowed(question):
            raise Forbidden(
                f"Forbidden (user={question.asker.name}, verb={question.verb}, resource=nodes, "
                f"subresource={question.subresource})"
            )

    async def _allowed(self, question: Question) -> bool:
        known, now = self._answers.get(question), self._clock.monotonic()
        if known is not None and now < known[1]:
            return known[0]
        attributes = {
            "verb": question.verb,
            "version": "v1",
            "resource": "nodes",
            "subresource": question.subresource,
            "name": self._node,
        }
        spec = {
            "user": question.asker.name,
            "groups": list(question.asker.groups),
            "resourceAttributes": attributes,
        }
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        try:
            answer: Mapping[str, Any] = await self._client.request("POST", REVIEWS, body=review)
        except (APIError, TransportError) as error:
            raise Forbidden(f"nobody could say whether {question.asker.name} may do this: {error}") from error
        status: Mapping[str, Any] = answer.get("status") or {}
        allowed = bool(status.get("allowed"))
        if len(self._answers) >= MOST_REMEMBERED:
            self._answers.clear()
        self._answers[question] = (allowed, now + (ALLOWED_SECONDS if allowed else DENIED_SECONDS))
        return allowed
