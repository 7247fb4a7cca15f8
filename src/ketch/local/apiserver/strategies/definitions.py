"""CustomResourceDefinitions: what a definition must be, and its life."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ketch.kube.causes import invalid, required, unsupported
from ketch.kube.codec import format_time
from ketch.kube.errors import Cause
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.metadata import DNS_LABEL, DNS_SUBDOMAIN, LABEL_MESSAGE
from ketch.local.apiserver.strategies.base import Context, Obj, Strategy

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
TYPES = ["array", "boolean", "integer", "number", "object", "string"]
PROTECTED = re.compile(r"(^|\.)(k8s|kubernetes)\.io$")
APPROVED = "api-approved.kubernetes.io"
LIST_TYPES = ["atomic", "map", "set"]


class DefinitionStrategy(Strategy):
    """apiextensions.k8s.io/v1 CustomResourceDefinition."""

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """Held until its objects are gone; accepted at once, since nothing else decides about it."""
        meta, spec = obj["metadata"], obj["spec"]
        meta["finalizers"] = [*(item for item in meta.get("finalizers") or NO_ITEMS if item != CLEANUP), CLEANUP]
        now = format_time(context.now.replace(microsecond=0))
        obj["status"] = {
            "conditions": [
                _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
                _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", now),
            ],
            "acceptedNames": spec.get("names") or NOTHING,
            "storedVersions": _stored_versions(spec),
        }

    def prepare_update(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        """Names and stored versions follow the spec."""
        status = dict(obj.get("status") or old.get("status") or NOTHING)
        status["acceptedNames"] = obj["spec"].get("names") or NOTHING
        known = status.get("storedVersions") or NO_ITEMS
        status["storedVersions"] = [*known, *(item for item in _stored_versions(obj["spec"]) if item not in known)]
        obj["status"] = status

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Names, versions and structural schemas."""
        spec = obj["spec"]
        causes = _name_causes(obj["metadata"].get("name", ""), obj["metadata"].get("annotations"), spec)
        if spec.get("scope") not in ("Namespaced", "Cluster"):
            causes.append(unsupported("spec.scope", spec.get("scope"), ["Cluster", "Namespaced"]))
        versions = spec.get("versions") or NO_ITEMS
        if not versions:
            causes.append(required("spec.versions", "must have at least one version"))
        if sum(bool(version.get("storage")) for version in versions) != 1 and versions:
            causes.append(
                invalid("spec.versions", len(versions), "must have exactly one version marked as storage version")
            )
        for index, version in enumerate(versions):
            schema = (version.get("schema") or NOTHING).get("openAPIV3Schema")
            path = f"spec.versions[{index}].schema.openAPIV3Schema"
            if schema is None:
                causes.append(required(path, "schemas are required"))
            else:
                if schema.get("type") != "object":
                    causes.append(invalid(f"{path}.type", schema.get("type", ""), "must be object at the root"))
                structural_causes(schema, path, causes)
        if old is not None:
            for name in ("group", "scope"):
                if spec.get(name) != old["spec"].get(name):
                    causes.append(invalid(f"spec.{name}", spec.get(name), "field is immutable"))
        return causes


def _condition(kind: str, reason: str, message: str, now: str) -> Obj:
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now}


def _stored_versions(spec: Mapping[str, Any]) -> list[str]:
    return [version["name"] for version in spec.get("versions") or NO_ITEMS if version.get("storage")]


def _name_causes(name: str, annotations: Mapping[str, str] | None, spec: Mapping[str, Any]) -> list[Cause]:
    causes: list[Cause] = []
    group, names = spec.get("group", ""), spec.get("names") or NOTHING
    if not DNS_SUBDOMAIN.match(group) or "." not in group:
        causes.append(invalid("spec.group", group, "should be a domain with at least one dot"))
    if PROTECTED.search(group) and not (annotations or {}).get(APPROVED):
        message = "protected groups must have approval annotation " + APPROVED
        causes.append(Cause("FieldValueRequired", f"Required value: {message}", f"metadata.annotations[{APPROVED}]"))
    plural = names.get("plural", "")
    if name != f"{plural}.{group}":
        message = 'must be spec.names.plural+"."+spec.group'
        causes.append(invalid("metadata.name", name, message))
    bad = [key for key in ("plural", "singular") if not DNS_LABEL.match(names.get(key, ""))]
    causes += [invalid(f"spec.names.{key}", names.get(key, ""), LABEL_MESSAGE) for key in bad]
    if not DNS_LABEL.match(names.get("kind", "").lower()):
        causes.append(
            invalid(
                "spec.names.kind",
                names.get("kind", ""),
                "may have mixed case, but should otherwise match: " + LABEL_MESSAGE,
            )
        )
    return causes


def structural_causes(schema: Mapping[str, Any], path: str, causes: list[Cause]) -> None:
    """Where a schema is not structural: types missing, constructs that pruning could not follow."""
    kind = schema.get("type", "")
    free = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if not kind and not free:
        causes.append(required(f"{path}.type", "must not be empty for specified object fields"))
    if kind and kind not in TYPES:
        causes.append(unsupported(f"{path}.type", kind, cast("list[Any]", TYPES)))
    causes += [
        Cause("FieldValueForbidden", f"Forbidden: {name} is not supported", f"{path}.{name}")
        for name in ("$ref", "definitions", "patternProperties", "dependencies", "id")
        if name in schema
    ]
    if schema.get("uniqueItems"):
        message = "Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        causes.append(Cause("FieldValueForbidden", message, f"{path}.uniqueItems"))
    if schema.get("properties") and schema.get("additionalProperties"):
        message = "Forbidden: additionalProperties and properties are mutual exclusive"
        causes.append(Cause("FieldValueForbidden", message, f"{path}.additionalProperties"))
    if "pattern" in schema:
        try:
            re.compile(schema["pattern"])
        except re.error as error:
            causes.append(
                invalid(f"{path}.pattern", schema["pattern"], f"must be a valid regular expression, but isn't: {error}")
            )
    if kind == "array":
        _array_causes(schema, path, causes)
    for name, child in (schema.get("properties") or NOTHING).items():
        structural_causes(child, f"{path}.properties[{name}]", causes)
    if isinstance(schema.get("additionalProperties"), dict):
        structural_causes(schema["additionalProperties"], f"{path}.additionalProperties", causes)


def _array_causes(schema: Mapping[str, Any], path: str, causes: list[Cause]) -> None:
    if not isinstance(schema.get("items"), dict):
        causes.append(required(f"{path}.items", "must be specified"))
        return
    structural_causes(schema["items"], f"{path}.items", causes)
    list_type, keys = schema.get("x-kubernetes-list-type", "atomic"), schema.get("x-kubernetes-list-map-keys")
    if list_type not in LIST_TYPES:
        causes.append(unsupported(f"{path}.x-kubernetes-list-type", list_type, cast("list[Any]", LIST_TYPES)))
    if list_type == "map" and not keys:
        causes.append(
            required(f"{path}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map")
        )
