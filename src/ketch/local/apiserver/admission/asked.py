"""What is asked: one write, as admission sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ketch.local.apiserver.absent import NOTHING
from ketch.local.apiserver.auth.identity import UserInfo
from ketch.local.apiserver.custom.conversion import as_served, as_stored
from ketch.local.apiserver.resources import ServedResource

CREATE, UPDATE, DELETE = "CREATE", "UPDATE", "DELETE"


@dataclass(frozen=True, slots=True)
class Asked:
    """One write. ``obj`` is what shall be (None for a deletion), ``old`` what is (None for a creation)."""

    operation: str
    resource: ServedResource
    subresource: str
    namespace: str
    name: str
    user: UserInfo
    obj: Mapping[str, Any] | None
    old: Mapping[str, Any] | None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dry_run: bool = False

    def in_version(self, resource: ServedResource) -> "Asked":
        """The same write, of another version of its kind; where a webhook converts, as its sender put it."""
        if resource.api_version == self.resource.api_version or resource.converter is not None:
            return self

        def converted(value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
            return None if value is None else as_served(resource, as_stored(self.resource, value))

        return replace(self, resource=resource, obj=converted(self.obj), old=converted(self.old))

    async def converted(self, resource: ServedResource) -> "Asked":
        """The same write, of another version of its kind, whoever converts. Raises APIError."""
        if resource.converter is None or resource.api_version == self.resource.api_version:
            return self.in_version(resource)
        objects = [each for each in (self.obj, self.old) if each is not None]
        made = iter(await resource.converter.converted(objects, resource.api_version))
        obj = None if self.obj is None else next(made)
        return replace(self, resource=resource, obj=obj, old=None if self.old is None else next(made))

    def labels(self) -> tuple[Mapping[str, str], ...]:
        """The labels of the object, new and old."""
        return tuple(each["metadata"].get("labels") or NOTHING for each in (self.obj, self.old) if each is not None)

    def request(self, uid: str, asked_for: "Asked | None" = None) -> dict[str, Any]:
        """The ``request`` of an AdmissionReview; ``asked_for`` is the write as its sender put it."""
        sender = (asked_for or self).resource
        request: dict[str, Any] = {
            "uid": uid,
            "kind": _kind(self.resource),
            "resource": _resource(self.resource),
            "requestKind": _kind(sender),
            "requestResource": _resource(sender),
            "name": self.name,
            "operation": self.operation,
            "userInfo": described(self.user),
            "object": self.obj,
            "oldObject": self.old,
            "dryRun": self.dry_run,
            "options": {"kind": f"{self.operation.title()}Options", "apiVersion": "meta.k8s.io/v1", **self.options},
        }
        if self.namespace:
            request["namespace"] = self.namespace
        if self.subresource:
            request |= {"subResource": self.subresource, "requestSubResource": self.subresource}
        return request


def described(user: UserInfo) -> dict[str, Any]:
    """authentication.k8s.io/v1 UserInfo."""
    found: dict[str, Any] = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        found["uid"] = user.uid
    if user.extra:
        found["extra"] = {key: list(values) for key, values in user.extra.items()}
    return found


def _kind(resource: ServedResource) -> dict[str, str]:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _resource(resource: ServedResource) -> dict[str, str]:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}
