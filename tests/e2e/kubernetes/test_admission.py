"""Webhooks on a running platform: a server in a pod, behind a Service, asked about what controllers and users write."""

import base64
import json
import warnings
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubernetes import client, config
from tests.e2e.manifests import container, deployment, service
from tests.e2e.platforms import Platform, eventually

from ketch.kube.clock import SYSTEM_CLOCK

pytestmark = pytest.mark.e2e

SERVER = """
import base64, http.server, json, ssl

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        request = review["request"]
        response = {"uid": request["uid"], "allowed": True}
        if self.path == "/change":
            value = {**(request["object"]["metadata"].get("labels") or {}), "changed": "yes"}
            patch = [{"op": "add", "path": "/metadata/labels", "value": value}]
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
            response["warnings"] = ["a label was added"]
        elif (request["object"]["metadata"].get("annotations") or {}).get("forbidden"):
            response |= {"allowed": False, "status": {"message": "forbidden means forbidden"}}
        body = json.dumps({**review, "request": None, "response": response}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.ThreadingHTTPServer(("", 8443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def a_certificate(name: str) -> tuple[bytes, bytes]:
    """A certificate that is its own authority, and its key."""
    key, who = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = SYSTEM_CLOCK.now()
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), secret


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def a_hook(name: str, namespace: str, bundle: bytes, path: str, kind: str) -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [kind]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return {
        "name": f"{name}.example.com",
        "clientConfig": {
            "service": {"name": "hooks", "namespace": namespace, "path": path},
            "caBundle": encoded(bundle),
        },
        "rules": [rule],
        "namespaceSelector": selector,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }


def test_a_webhook_in_a_pod_decides_about_what_is_written(platform: Platform, namespace: str):
    certificate, key = a_certificate(f"hooks.{namespace}.svc")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tls"},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": encoded(certificate), "tls.key": encoded(key)},
    }
    mounts = [{"name": "tls", "mountPath": "/tls"}]
    ready = {"tcpSocket": {"port": 8443}}
    server = container("python", "-c", SERVER, image="python:3.11", volumeMounts=mounts, readinessProbe=ready)
    hooks = deployment("hooks", 1, server)
    hooks["spec"]["template"]["spec"]["volumes"] = [{"name": "tls", "secret": {"secretName": "tls"}}]
    platform.apply(secret, hooks, service("hooks", 443, 8443), namespace=namespace)
    platform.kubectl("rollout", "status", "deployment/hooks", "-n", namespace, "--timeout=120s")
    group = "admissionregistration.k8s.io/v1"
    registrations = [
        {
            "apiVersion": group,
            "kind": f"{kind}WebhookConfiguration",
            "metadata": {"name": f"{namespace}-{kind.lower()}"},
            "webhooks": [a_hook(kind.lower(), namespace, certificate, path, "configmaps")],
        }
        for kind, path in (("Mutating", "/change"), ("Validating", "/judge"))
    ]
    platform.apply(*registrations)
    try:
        made = eventually(lambda: _created(platform, namespace), what="the webhook's answer")
        assert "Warning: a label was added" in made.stderr
        assert platform.get("configmap", "one", "-n", namespace)["metadata"]["labels"] == {"changed": "yes"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            core = client.CoreV1Api(config.new_client_from_config(str(platform.kubeconfig)))
            body = {"metadata": {"name": "two", "annotations": {"forbidden": "yes"}}}
            with pytest.raises(client.ApiException) as caught:
                core.create_namespaced_config_map(namespace, body)
        assert (caught.value.status, json.loads(caught.value.body)["message"]) == (
            403,
            'admission webhook "validating.example.com" denied the request: forbidden means forbidden',
        )
    finally:
        for each in registrations:
            platform.kubectl("delete", each["kind"], each["metadata"]["name"])


def _created(platform: Platform, namespace: str) -> Any:
    done = platform.kubectl_result("create", "configmap", "one", "-n", namespace)
    return done if done.returncode == 0 else None
