"""The cluster's own signers: approved requests get their certificates, old requests go."""

import asyncio
import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from ketch.kube.errors import APIError
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.auth.identity import LOOPBACK, NODES
from ketch.local.apiserver.auth.nodes import PREFIX
from ketch.local.apiserver.auth.pki import Authority
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import Registry
from ketch.local.apiserver.store.records import Change, StoreUnavailable
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.strategies.certificates import (
    API_CLIENT,
    APPROVED,
    DENIED,
    FAILED,
    GROUP,
    decoded,
    has,
)
from ketch.local.apiserver.verbs.writing import WriteHandlers

if TYPE_CHECKING:
    from cryptography import x509

REQUESTS = f"{GROUP}/certificatesigningrequests"
MANAGER = "certificate-controller"
NODE_CLIENT, NODE_SERVER = "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
LIFETIME = timedelta(days=365)
CLIENT_AUTH, SERVER_AUTH = "client auth", "server auth"
KEYS = ("digital signature", "key encipherment")


class Rules(NamedTuple):
    """What a signer signs: the usages that may be and must be, and whether the subject must be a node."""

    allowed: frozenset[str] | None
    demanded: str = ""
    node: bool = False


SIGNERS: Mapping[str, Rules] = {
    API_CLIENT: Rules(frozenset({*KEYS, CLIENT_AUTH}), CLIENT_AUTH),
    NODE_CLIENT: Rules(frozenset({*KEYS, CLIENT_AUTH}), CLIENT_AUTH, node=True),
    NODE_SERVER: Rules(frozenset({*KEYS, SERVER_AUTH}), SERVER_AUTH, node=True),
    LEGACY: Rules(None),
}


def objections(signer: str, usages: Sequence[str], request: "x509.CertificateSigningRequest") -> Iterator[str]:
    """Why a signer does not sign a request."""
    from cryptography.x509.oid import NameOID  # noqa: PLC0415  # deferred: 90 ms, for the first request

    rules = SIGNERS[signer]
    if rules.allowed is not None and not set(usages) <= rules.allowed:
        yield f"usages: only {', '.join(sorted(rules.allowed))} are allowed"
    if rules.demanded and rules.demanded not in usages:
        yield f"usages: {rules.demanded} is required"
    if not rules.node:
        return
    subject = request.subject
    names = [str(each.value) for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [str(each.value) for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if groups != [NODES]:
        yield f"subject organization is not {NODES}"
    if len(names) != 1 or not names[0].startswith(PREFIX):
        yield f"subject common name does not begin with {PREFIX}"
    places = _alternative_names(request)
    if signer == NODE_CLIENT and places:
        yield "DNS, IP, URI and email subjectAltNames are not allowed"
    if signer == NODE_SERVER:
        kinds = {type(each).__name__ for each in places}
        if not kinds & {"DNSName", "IPAddress"}:
            yield "DNS or IP subjectAltName is required"
        if kinds - {"DNSName", "IPAddress"}:
            yield "only DNS and IP subjectAltNames are allowed"


def _alternative_names(request: "x509.CertificateSigningRequest") -> Sequence[Any]:
    from cryptography import x509  # noqa: PLC0415  # deferred, see objections

    try:
        return list(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()


class Signing:
    """Looks after requests, a moment after they changed."""

    def __init__(self, store: Store, writes: WriteHandlers, authority: Authority, registry: Registry) -> None:
        self._store = store
        self._writes = writes
        self._authority = authority
        self._requests = registry.find(GROUP, "v1", "certificatesigningrequests")
        self._tasks: set[asyncio.Task[None]] = set()
        store.observe(REQUESTS, self._changed)
        for record in store.list(REQUESTS):
            self._look_at(record.value)

    def _changed(self, change: Change) -> None:
        if not change.deleted:
            self._look_at(change.record.value)

    def _look_at(self, request: Mapping[str, Any]) -> None:
        settled = (request.get("status") or NOTHING).get("certificate") or has(request, DENIED) or has(request, FAILED)
        if has(request, APPROVED) and not settled and request["spec"]["signerName"] in SIGNERS:
            task = asyncio.get_running_loop().create_task(self._sign(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _sign(self, request: Mapping[str, Any]) -> None:
        from cryptography import x509  # noqa: PLC0415  # deferred, see objections

        spec = request["spec"]
        wanted = x509.load_pem_x509_csr(decoded(spec["request"]))
        usages = spec.get("usages") or NO_ITEMS
        status = dict(request.get("status") or NOTHING)
        if why := "; ".join(objections(spec["signerName"], usages, wanted)):
            failed = {"type": FAILED, "status": "True", "reason": "SignerValidationFailure", "message": why}
            status["conditions"] = [*status.get("conditions", NO_ITEMS), failed]
        else:
            lifetime = min(LIFETIME, timedelta(seconds=spec.get("expirationSeconds") or LIFETIME.total_seconds()))
            places = _alternative_names(wanted)
            pem = self._authority.sign_request(wanted, places, usages, lifetime)
            status["certificate"] = base64.b64encode(pem).decode()
        name = request["metadata"]["name"]
        target = Target(GROUP, "v1", self._requests.plural, "", name, "status", "update")

        def change(newest: Mapping[str, Any]) -> dict[str, Any]:
            same = newest["metadata"]["uid"] == request["metadata"]["uid"]
            return {**newest, "status": status if same else newest.get("status")}

        try:
            call = Call(LOOPBACK, "PUT", "", {"fieldManager": MANAGER})
            await self._writes.rewrite(call, target, self._requests, change)
        except (APIError, StoreUnavailable):
            return  # it went meanwhile, or cannot be written now: the next change, or the next start, tells

    async def close(self) -> None:
        """Stop; the next start goes on."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
