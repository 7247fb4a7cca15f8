"""Which kind has which strategy."""

from collections.abc import Mapping, Sequence
from typing import Any

from ketch.kube.admission import Admission
from ketch.local.apiserver.auth.rbac import Authorizer
from ketch.local.apiserver.resources import ServedResource, storage_of
from ketch.local.apiserver.strategies.apiservices import APIServiceStrategy
from ketch.local.apiserver.strategies.base import ORDINARY, Strategy
from ketch.local.apiserver.strategies.certificates import RequestStrategy
from ketch.local.apiserver.strategies.core import (
    ClaimStrategy,
    ConfigMapStrategy,
    NamespaceStrategy,
    SecretStrategy,
    ServiceAccountStrategy,
    ServiceStrategy,
    VolumeStrategy,
)
from ketch.local.apiserver.strategies.custom import AdmittedStrategy
from ketch.local.apiserver.strategies.definitions import DefinitionStrategy
from ketch.local.apiserver.strategies.limiting import LimitRangeStrategy, QuotaStrategy
from ketch.local.apiserver.strategies.pods import PodStrategy
from ketch.local.apiserver.strategies.policies import workload_strategies
from ketch.local.apiserver.strategies.registrations import (
    MutatingPolicyBindingStrategy,
    MutatingPolicyStrategy,
    PolicyBindingStrategy,
    PolicyStrategy,
    WebhookStrategy,
)
from ketch.local.apiserver.strategies.roles import RoleReferenceStrategy, RoleStrategy
from ketch.local.apiserver.strategies.workloads import JobStrategy, TemplateStrategy

RBAC = "rbac.authorization.k8s.io"


class Strategies:
    """One server's strategies; some remember what is allocated, so each server has its own."""

    def __init__(self, authorizer: Authorizer, admissions: Sequence[Admission[Any]] = ()) -> None:
        self.pods = PodStrategy()
        template = TemplateStrategy()
        references = RoleReferenceStrategy(authorizer)
        admitted = {
            storage_of(each.kind.resource.group, each.kind.resource.plural): AdmittedStrategy(each)
            for each in admissions
        }
        self._table: Mapping[str, Strategy] = {
            "/pods": self.pods,
            "/namespaces": NamespaceStrategy(),
            "/services": ServiceStrategy(),
            "/secrets": SecretStrategy(),
            "/configmaps": ConfigMapStrategy(),
            "/serviceaccounts": ServiceAccountStrategy(),
            "/persistentvolumeclaims": ClaimStrategy(),
            "/persistentvolumes": VolumeStrategy(),
            "apps/deployments": template,
            "apps/replicasets": template,
            "batch/jobs": JobStrategy(),
            **{f"{RBAC}/{plural}": RoleStrategy(authorizer) for plural in ("roles", "clusterroles")},
            **{f"{RBAC}/{plural}": references for plural in ("rolebindings", "clusterrolebindings")},
            "admissionregistration.k8s.io/mutatingwebhookconfigurations": WebhookStrategy(),
            "admissionregistration.k8s.io/validatingwebhookconfigurations": WebhookStrategy(),
            "admissionregistration.k8s.io/validatingadmissionpolicies": PolicyStrategy(),
            "admissionregistration.k8s.io/validatingadmissionpolicybindings": PolicyBindingStrategy(),
            "apiregistration.k8s.io/apiservices": APIServiceStrategy(),
            "certificates.k8s.io/certificatesigningrequests": RequestStrategy(authorizer),
            "admissionregistration.k8s.io/mutatingadmissionpolicies": MutatingPolicyStrategy(),
            "admissionregistration.k8s.io/mutatingadmissionpolicybindings": MutatingPolicyBindingStrategy(),
            "/limitranges": LimitRangeStrategy(),
            "/resourcequotas": QuotaStrategy(),
            "apiextensions.k8s.io/customresourcedefinitions": DefinitionStrategy(),
            **workload_strategies(),
            **admitted,
        }

    def find(self, resource: ServedResource) -> Strategy:
        """The kind's strategy."""
        return self._table.get(resource.storage, ORDINARY)
