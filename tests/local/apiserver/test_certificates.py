"""certificates.k8s.io: asked for, approved, signed, used."""

import asyncio
import base64
import ssl
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.local.apiserver.conftest import Ask
from tests.local.apiserver.test_kubectl import kubectl  # noqa: F401  # a fixture
from tests.waiting import eventually

from ketch.kube.errors import Forbidden, Invalid
from ketch.kube.transport import Request
from ketch.local.apiserver.auth.identity import AUTHENTICATED, UserInfo

PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
CLIENT = "kubernetes.io/kube-apiserver-client"
JANE = UserInfo("jane", ("devs", AUTHENTICATED), "u-1")


def made(name: str, *groups: str, places: tuple[str, ...] = ()) -> tuple[bytes, str]:
    """A key (PEM), and a request that it signed (base64)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if places:
        names = [x509.DNSName(each) for each in places]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    request = builder.sign(key, hashes.SHA256())
    kind = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    return pem, base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()


def wanted(name: str, request: str, signer: str = CLIENT, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {"request": request, "signerName": signer, "usages": ["client auth"], **spec},
    }


async def approved(ask: Ask, name: str, kind: str = "Approved") -> Any:
    """The request, once its signer has looked at it."""
    found = dict(await ask("GET", f"{PATH}/{name}"))
    found["status"] = {"conditions": [{"type": kind, "status": "True", "reason": "Test", "message": "so"}]}
    await ask("PUT", f"{PATH}/{name}/approval", found)

    async def settled() -> Any:
        status = (await ask("GET", f"{PATH}/{name}"))["status"]
        kinds = {each["type"] for each in status["conditions"]}
        return status if "certificate" in status or kinds & {"Failed", "Denied"} else None

    return await eventually(settled)


async def test_a_user_gets_a_certificate_and_uses_it(served: Any, kubectl: Any, tmp_path: Any) -> None:  # noqa: F811  # the fixture
    key, request = made("anna", "devs")
    transport = served.api.transport(JANE)
    rights = ["create", "clusterrolebinding", "asking", "--clusterrole=asker", "--user=jane"]
    await kubectl("create", "clusterrole", "asker", "--verb=create", "--resource=csr")
    await kubectl(*rights)
    body = wanted("anna", request, expirationSeconds=3600, username="root", groups=["system:masters"])
    spec = (await transport.request(Request("POST", PATH, {}, body)))["spec"]
    assert (spec["username"], spec["groups"], spec["uid"]) == ("jane", ["devs", AUTHENTICATED], "u-1")
    assert "Pending" in await kubectl("get", "csr")
    assert "approved" in await kubectl("certificate", "approve", "anna")
    await kubectl("wait", "csr/anna", "--for=jsonpath={.status.certificate}", "--timeout=60s")
    shown = await kubectl("get", "csr")
    assert "Approved,Issued" in shown
    assert ("jane" in shown, "60m" in shown) == (True, True)
    text = base64.b64decode(await kubectl("get", "csr", "anna", "-o", "jsonpath={.status.certificate}"))
    certificate = x509.load_pem_x509_certificate(text)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < timedelta(hours=2)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    (tmp_path / "c.crt").write_bytes(text)
    (tmp_path / "c.key").write_bytes(key)

    def context() -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(served.pki / "ca.crt"))
        made.load_cert_chain(tmp_path / "c.crt", tmp_path / "c.key")
        return made

    connector = aiohttp.TCPConnector(ssl=await asyncio.to_thread(context))
    review = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    async with (
        aiohttp.ClientSession(served.server, connector=connector) as session,
        session.post(review, json={"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}) as answer,
    ):
        user = (await answer.json())["status"]["userInfo"]
    assert (user["username"], user["groups"]) == ("anna", ["devs", AUTHENTICATED])


async def test_denied_ones_get_nothing_and_stay_so(ask: Ask, kubectl: Any) -> None:  # noqa: F811  # the fixture
    _, request = made("bob")
    await ask("POST", PATH, wanted("bob", request))
    assert "denied" in await kubectl("certificate", "deny", "bob")
    assert "Denied" in await kubectl("get", "csr")
    status = (await ask("GET", f"{PATH}/bob"))["status"]
    assert "certificate" not in status
    both = dict(await ask("GET", f"{PATH}/bob"))
    both["status"] = {"conditions": [*status["conditions"], {"type": "Approved", "status": "True"}]}
    with pytest.raises(Invalid, match="mutually exclusive"):
        await ask("PUT", f"{PATH}/bob/approval", both)
    both["status"] = {}
    with pytest.raises(Invalid, match="may not remove a condition of type"):
        await ask("PUT", f"{PATH}/bob/approval", both)


NODE = "system:node:n1"
SIGNED = [
    ("kubernetes.io/kube-apiserver-client-kubelet", NODE, ("system:nodes",), (), ["client auth"], ""),
    ("kubernetes.io/kube-apiserver-client-kubelet", "n1", ("system:nodes",), (), ["client auth"], "common name"),
    ("kubernetes.io/kube-apiserver-client-kubelet", NODE, ("others",), (), ["client auth"], "organization is not"),
    ("kubernetes.io/kubelet-serving", NODE, ("system:nodes",), ("n1.local",), ["server auth"], ""),
    ("kubernetes.io/kubelet-serving", NODE, ("system:nodes",), (), ["server auth"], "subjectAltName is required"),
    ("kubernetes.io/kubelet-serving", NODE, ("system:nodes",), ("n1",), ["client auth"], "server auth is required"),
    (CLIENT, "x", (), (), ["client auth", "server auth"], "are allowed"),
    ("kubernetes.io/legacy-unknown", "x", (), ("a.b",), ["code signing"], ""),
]


@pytest.mark.parametrize(("signer", "name", "groups", "places", "usages", "why"), SIGNED)
async def test_what_each_signer_signs(
    ask: Ask, signer: str, name: str, groups: tuple[str, ...], places: tuple[str, ...], usages: list[str], why: str
) -> None:
    _, request = made(name, *groups, places=places)
    await ask("POST", PATH, wanted("a", request, signer, usages=usages))
    status = await approved(ask, "a")
    failed = [each["message"] for each in status["conditions"] if each["type"] == "Failed"]
    assert bool(failed) == bool(why)
    assert why in "".join(failed)
    assert ("certificate" in status) == (not why)


async def test_what_is_no_request(ask: Ask) -> None:
    _, request = made("a")
    for changes, field in (
        ({"request": base64.b64encode(b"no").decode()}, "spec.request"),
        ({"usages": []}, "spec.usages: Required value"),
        ({"usages": ["to fly"]}, "spec.usages[0]: Unsupported value"),
        ({"signerName": "none"}, "spec.signerName"),
        ({"expirationSeconds": 10}, "spec.expirationSeconds"),
    ):
        body = wanted("a", request)
        with pytest.raises(Invalid) as refused:
            await ask("POST", PATH, {**body, "spec": {**body["spec"], **changes}})
        assert field in str(refused.value)
    _, mighty = made("a", "system:masters")
    with pytest.raises(Forbidden, match="system:masters group is not allowed"):
        await ask("POST", PATH, wanted("a", mighty))
    await ask("POST", PATH, wanted("a", request))
    changed = dict(await ask("GET", f"{PATH}/a"))
    changed["spec"] = {**changed["spec"], "usages": ["digital signature"]}
    with pytest.raises(Invalid, match=r"spec: Invalid value.*immutable"):
        await ask("PUT", f"{PATH}/a", changed)


async def test_approving_and_signing_are_rights_of_their_own(ask: Ask, served: Any) -> None:
    _, request = made("a")
    await ask("POST", PATH, wanted("a", request, "example.com/own"))
    rules = [{"apiGroups": ["certificates.k8s.io"], "resources": ["*"], "verbs": ["get", "update"]}]
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    await ask("POST", roles, {"metadata": {"name": "r"}, "rules": rules})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}
    subject = {"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "r"}, "roleRef": role, "subjects": [subject]}
    await ask("POST", f"{roles.removesuffix('roles')}rolebindings", binding)
    jane = served.api.transport(JANE)
    found = dict(await ask("GET", f"{PATH}/a"))
    found["status"] = {"conditions": [{"type": "Approved", "status": "True"}]}
    with pytest.raises(Forbidden, match="not permitted to approve requests with signerName"):
        await jane.request(Request("PUT", f"{PATH}/a/approval", {}, found))
    found["status"] = {"certificate": base64.b64encode(b"x").decode()}
    with pytest.raises(Forbidden, match="not permitted to sign requests with signerName"):
        await jane.request(Request("PUT", f"{PATH}/a/status", {}, found))
    rules = [*rules, {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "verbs": ["approve", "sign"]}]
    rules[1]["resourceNames"] = ["example.com/*"]
    await ask("PUT", f"{roles}/r", {"metadata": {"name": "r"}, "rules": rules})
    found["status"] = {"conditions": [{"type": "Approved", "status": "True"}]}
    await jane.request(Request("PUT", f"{PATH}/a/approval", {}, found))
    status = (await ask("GET", f"{PATH}/a"))["status"]
    assert "certificate" not in status  # that signer is not the cluster's
