"""How an API server is told of the webhooks. Pure."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ketch.kube.admission import Admission
from ketch.kube.meta import KubeObject, ObjectMeta, Resource
from ketch.kube.webhooks.reviews import MUTATE, VALIDATE

DOMAIN = "admission.ketch.dev"
GROUP, VERSION = "admissionregistration.k8s.io", "v1"
TIMEOUT_SECONDS = 10


class MutatingWebhookConfiguration(KubeObject, frozen=True, kw_only=True):
    """Who completes objects before they are stored."""

    resource: ClassVar = Resource(
        GROUP, VERSION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", namespaced=False
    )

    webhooks: Sequence[Mapping[str, Any]] = ()


class ValidatingWebhookConfiguration(KubeObject, frozen=True, kw_only=True):
    """Who judges objects before they are stored."""

    resource: ClassVar = Resource(
        GROUP, VERSION, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", namespaced=False
    )

    webhooks: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where the webhooks answer: at ``url`` (https://host:port), or, where that is empty, behind a Service.

    ``certificate`` is PEM: by what they are known.
    """

    certificate: bytes
    url: str = ""
    namespace: str = ""
    service: str = ""
    port: int = 443

    def client_config(self, path: str) -> dict[str, Any]:
        """As registrations have it."""
        bundle = base64.b64encode(self.certificate).decode()
        if self.url:
            return {"caBundle": bundle, "url": f"{self.url}{path}"}
        service = {"namespace": self.namespace, "name": self.service, "path": path, "port": self.port}
        return {"caBundle": bundle, "service": service}


def registrations(
    name: str, admissions: Sequence[Admission[Any]], place: Place
) -> tuple[MutatingWebhookConfiguration, ValidatingWebhookConfiguration]:
    """Both registrations, called ``name``: one webhook for each group of kinds."""
    groups: dict[tuple[str, str], list[str]] = {}
    for admission in admissions:
        resource = admission.kind.resource
        groups.setdefault((resource.group, resource.version), []).append(resource.plural)

    def hooks(path: str, **more: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": f"{path.strip('/')}.{version}.{group}.{DOMAIN}",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "matchPolicy": "Equivalent",
                "timeoutSeconds": TIMEOUT_SECONDS,
                "clientConfig": place.client_config(path),
                "rules": [
                    {
                        "apiGroups": [group],
                        "apiVersions": [version],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": sorted(plurals),
                        "scope": "*",
                    }
                ],
                **more,
            }
            for (group, version), plurals in sorted(groups.items())
        ]

    metadata = ObjectMeta(name=name)
    return (
        MutatingWebhookConfiguration(metadata=metadata, webhooks=hooks(MUTATE, reinvocationPolicy="IfNeeded")),
        ValidatingWebhookConfiguration(metadata=metadata, webhooks=hooks(VALIDATE)),
    )
