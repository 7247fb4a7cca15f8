"""CertificateSigningRequests: who asks, who may approve, who may sign."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ketch.kube.causes import forbidden, immutable, invalid, required, unsupported
from ketch.kube.codec import format_time
from ketch.kube.errors import Cause, Forbidden, StatusDetails
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.auth.identity import MASTERS, UserInfo
from ketch.local.apiserver.auth.rbac import Attributes, Authorizer
from ketch.local.apiserver.strategies.base import Context, Obj, Strategy

GROUP = "certificates.k8s.io"
APPROVAL = "approval"
API_CLIENT = "kubernetes.io/kube-apiserver-client"
APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
SHORTEST_SECONDS = 600
USAGES = (
    *("any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment"),
    *("decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel"),
    *("ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime"),
    *("server auth", "signing", "timestamping"),
)
_SIGNER = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+/[A-Za-z0-9][-A-Za-z0-9_./]*$")
_REQUEST = re.compile(
    rb"\A\s*-----BEGIN (NEW )?CERTIFICATE REQUEST-----.*-----END (NEW )?CERTIFICATE REQUEST-----", re.S
)
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*-----END CERTIFICATE-----", re.S)


def conditions_of(obj: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """What is said of a request."""
    return (obj.get("status") or NOTHING).get("conditions") or NO_ITEMS


def has(obj: Mapping[str, Any], kind: str) -> bool:
    """Whether a condition is said of a request."""
    return any(each.get("type") == kind for each in conditions_of(obj))


def decoded(text: Any) -> bytes:
    """What base64 holds, nothing where it is none."""
    try:
        return base64.b64decode(text or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        return b""


class RequestStrategy(Strategy):
    """certificates.k8s.io/v1 CertificateSigningRequest."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """The request is its sender's, whatever it says."""
        spec, user = obj.setdefault("spec", {}), context.user
        for name in ("username", "uid", "groups", "extra"):
            spec.pop(name, None)
        spec |= {"username": user.name, "groups": list(user.groups)}
        if user.uid:
            spec["uid"] = user.uid
        if user.extra:
            spec["extra"] = {key: list(values) for key, values in user.extra.items()}
        if spec.get("signerName") == API_CLIENT and MASTERS in _organisations(decoded(spec.get("request"))):
            why = f"use of {API_CLIENT} signer with {MASTERS} group is not allowed"
            raise _refused(obj, why)

    def prepare_update(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        """Approval is one right, to sign another; nobody changes what was asked for."""
        before = [each for each in conditions_of(old) if each.get("type") in (APPROVED, DENIED)]
        if context.subresource == APPROVAL:
            told = list(conditions_of(obj))
            obj["spec"] = old.get("spec", NOTHING)
            obj["status"] = {**(old.get("status") or NOTHING), "conditions": _dated(told, old, context)}
            if not told:
                del obj["status"]["conditions"]
            self._demand("approve", obj, context.user)
        elif obj.get("status") != old.get("status"):
            status = obj["status"] = dict(obj.get("status") or NOTHING)
            rest = [each for each in status.get("conditions") or NO_ITEMS if each.get("type") not in (APPROVED, DENIED)]
            status["conditions"] = _dated([*before, *rest], old, context)
            self._demand("sign", obj, context.user)

    def _demand(self, verb: str, obj: Mapping[str, Any], user: UserInfo) -> None:
        """Raises Forbidden for who may not do this for the request's signer."""
        signer = str((obj.get("spec") or NOTHING).get("signerName", ""))
        for name in (signer, f"{signer.partition('/')[0]}/*"):
            if self._authorizer.allows(user, Attributes(verb, GROUP, "signers", name=name)):
                return
        raise _refused(obj, f'user not permitted to {verb} requests with signerName "{signer}"')

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """A request that can be signed, and conditions that do not contradict each other."""
        if old is None:
            return tuple(_spec_causes(obj["spec"]))
        return tuple(_status_causes(obj, old))


def _refused(obj: Mapping[str, Any], why: str) -> Forbidden:
    name = obj["metadata"].get("name", "")
    details = StatusDetails(name=name, group=GROUP, kind="certificatesigningrequests")
    return Forbidden(f'certificatesigningrequests.{GROUP} "{name}" is forbidden: {why}', details)


def _dated(told: Sequence[Mapping[str, Any]], old: Mapping[str, Any], context: Context) -> list[Mapping[str, Any]]:
    """Conditions with the times of when they were said."""
    now = format_time(context.now.replace(microsecond=0))
    known = {each.get("type"): each for each in conditions_of(old)}
    result: list[Mapping[str, Any]] = []
    for each in told:
        before = known.get(each.get("type"), NOTHING)
        changed = before.get("status") != each.get("status")
        transition = now if changed else before.get("lastTransitionTime", now)
        result.append({"lastUpdateTime": now, **each, "lastTransitionTime": transition})
    return result


def _organisations(request: bytes) -> Sequence[str]:
    from cryptography import x509  # noqa: PLC0415  # deferred: 90 ms, for the first request
    from cryptography.x509.oid import NameOID  # noqa: PLC0415  # as above

    try:
        subject = x509.load_pem_x509_csr(request).subject
    except ValueError:
        return ()  # validation says what is wrong
    return [str(each.value) for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


def _spec_causes(spec: Mapping[str, Any]) -> Iterator[Cause]:
    text = decoded(spec.get("request"))
    if not text:
        yield required("spec.request") if not spec.get("request") else invalid("spec.request", "<PEM>", "no base64")
    elif not _REQUEST.match(text) or not _readable(text):
        message = "PEM block type must be CERTIFICATE REQUEST, and hold one that is signed by its own key"
        yield invalid("spec.request", "<PEM>", message)
    signer = spec.get("signerName", "")
    if not signer:
        yield required("spec.signerName")
    elif not _SIGNER.match(signer):
        yield invalid("spec.signerName", signer, "must be a domain and a path, as 'example.com/name'")
    usages = spec.get("usages") or NO_ITEMS
    if not usages:
        yield required("spec.usages")
    for index, usage in enumerate(usages):
        if usage not in USAGES:
            yield unsupported(f"spec.usages[{index}]", usage, USAGES)
        if usage in usages[:index]:
            yield Cause("FieldValueDuplicate", f'Duplicate value: "{usage}"', f"spec.usages[{index}]")
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < SHORTEST_SECONDS:
        yield invalid("spec.expirationSeconds", seconds, f"may not be less than {SHORTEST_SECONDS} seconds")


def _readable(request: bytes) -> bool:
    from cryptography import x509  # noqa: PLC0415  # deferred, see _organisations

    try:
        return x509.load_pem_x509_csr(request).is_signature_valid
    except ValueError:
        return False


def _status_causes(obj: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Cause]:
    if obj.get("spec") != old.get("spec"):
        yield immutable("spec", "<spec>")
    for kind in (APPROVED, DENIED, FAILED):
        if has(old, kind) and not has(obj, kind):
            yield forbidden("status.conditions", f'updates may not remove a condition of type "{kind}"')
    if has(obj, APPROVED) and has(obj, DENIED):
        yield invalid("status.conditions", DENIED, "Approved and Denied conditions are mutually exclusive")
    for index, each in enumerate(conditions_of(obj)):
        path = f"status.conditions[{index}]"
        if not each.get("type"):
            yield required(f"{path}.type")
        if each.get("type") in (APPROVED, DENIED, FAILED) and each.get("status") != "True":
            yield unsupported(f"{path}.status", each.get("status"), ["True"])
    certificate, before = ((item.get("status") or NOTHING).get("certificate") for item in (obj, old))
    if before and certificate != before:
        yield immutable("status.certificate", "<PEM>")
    elif certificate and not _CERTIFICATE.search(decoded(certificate)):
        yield invalid("status.certificate", "<PEM>", "must contain at least one CERTIFICATE PEM block")
