"""rbac.authorization.k8s.io/v1: who may do what."""

from typing import ClassVar

from ketch.kube.codec import KubeStruct
from ketch.kube.meta import KubeObject, Resource

GROUP = "rbac.authorization.k8s.io"


class PolicyRule(KubeStruct, frozen=True, kw_only=True):
    """What may be done, to which resources."""

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()


class Role(KubeObject, frozen=True, kw_only=True):
    """What its holders may do in one namespace."""

    resource: ClassVar = Resource(GROUP, "v1", "Role", "roles")

    rules: tuple[PolicyRule, ...] = ()


class Subject(KubeStruct, frozen=True, kw_only=True):
    """Who holds a role."""

    kind: str
    name: str
    namespace: str = ""
    api_group: str = ""


class RoleReference(KubeStruct, frozen=True, kw_only=True):
    """The role that is held."""

    api_group: str = ""
    kind: str = ""
    name: str = ""


class RoleBinding(KubeObject, frozen=True, kw_only=True):
    """Who holds a role in one namespace."""

    resource: ClassVar = Resource(GROUP, "v1", "RoleBinding", "rolebindings")

    subjects: tuple[Subject, ...] = ()
    role_ref: RoleReference = RoleReference()
