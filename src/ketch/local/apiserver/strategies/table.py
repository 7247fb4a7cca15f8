"""Which kind has which strategy."""

from typing import TYPE_CHECKING

from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.strategies.base import ORDINARY, Strategy
from ketch.local.apiserver.strategies.core import (
    ClaimStrategy,
    ConfigMapStrategy,
    NamespaceStrategy,
    PhaseStrategy,
    RoleReferenceStrategy,
    SecretStrategy,
    ServiceAccountStrategy,
    ServiceStrategy,
)
from ketch.local.apiserver.strategies.definitions import DefinitionStrategy
from ketch.local.apiserver.strategies.pods import PodStrategy
from ketch.local.apiserver.strategies.workloads import JobStrategy, TemplateStrategy

if TYPE_CHECKING:
    from collections.abc import Mapping

RBAC = "rbac.authorization.k8s.io"


class Strategies:
    """One server's strategies; some remember what is allocated, so each server has its own."""

    def __init__(self) -> None:
        template = TemplateStrategy()
        self._table: Mapping[str, Strategy] = {
            "/pods": PodStrategy(),
            "/namespaces": NamespaceStrategy(),
            "/services": ServiceStrategy(),
            "/secrets": SecretStrategy(),
            "/configmaps": ConfigMapStrategy(),
            "/serviceaccounts": ServiceAccountStrategy(),
            "/persistentvolumeclaims": ClaimStrategy(),
            "/persistentvolumes": PhaseStrategy("Pending"),
            "apps/deployments": template,
            "apps/replicasets": template,
            "apps/statefulsets": template,
            "apps/daemonsets": template,
            "batch/jobs": JobStrategy(),
            f"{RBAC}/rolebindings": RoleReferenceStrategy(),
            f"{RBAC}/clusterrolebindings": RoleReferenceStrategy(),
            "apiextensions.k8s.io/customresourcedefinitions": DefinitionStrategy(),
        }

    def find(self, resource: ServedResource) -> Strategy:
        """The kind's strategy."""
        return self._table.get(resource.storage, ORDINARY)
