"""CustomResourceDefinitions: what a definition must be, and its life."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ketch.kube.causes import duplicate, forbidden, immutable, invalid, required, unsupported
from ketch.kube.codec import format_time
from ketch.kube.errors import Cause
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.metadata import DNS_LABEL, DNS_SUBDOMAIN, LABEL_MESSAGE
from ketch.local.apiserver.schemas import compile_schema
from ketch.local.apiserver.schemas.builtin import builtin_kinds
from ketch.local.apiserver.strategies.base import Context, Obj, Strategy
from ketch.local.apiserver.strategies.registrations import client_causes
from ketch.local.apiserver.strategies.structural import schema_causes

CRDS = "apiextensions.k8s.io/customresourcedefinitions"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
PROTECTED = re.compile(r"(^|\.)(k8s|kubernetes)\.io$")
WEBHOOK = "Webhook"
APPROVED = "api-approved.kubernetes.io"
SCOPES = ["Cluster", "Namespaced"]
COLUMN_TYPES = ["boolean", "date", "integer", "number", "string"]
_FIELD = re.compile(r"^(\.[A-Za-z_][A-Za-z0-9_-]*)+$")


class DefinitionStrategy(Strategy):
    """apiextensions.k8s.io/v1 CustomResourceDefinition."""

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """Held until its objects are gone; accepted at once, unless its names are taken."""
        meta, spec = obj["metadata"], obj["spec"]
        meta["finalizers"] = [*(item for item in meta.get("finalizers") or NO_ITEMS if item != CLEANUP), CLEANUP]
        now = format_time(context.now.replace(microsecond=0))
        obj["status"] = accepted(obj, context.listing(CRDS, None), now)
        obj["status"]["storedVersions"] = _stored_versions(spec)

    def prepare_update(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        """Names and stored versions follow the spec."""
        status = dict(obj.get("status") or old.get("status") or NOTHING)
        if obj["spec"].get("names") != old["spec"].get("names"):
            status |= accepted(obj, context.listing(CRDS, None), format_time(context.now.replace(microsecond=0)))
        known = status.get("storedVersions") or NO_ITEMS
        status["storedVersions"] = [*known, *(item for item in _stored_versions(obj["spec"]) if item not in known)]
        obj["status"] = status

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Names, versions and structural schemas."""
        spec = obj["spec"]
        if old is not None and spec == old["spec"]:
            return ()
        causes = _name_causes(obj["metadata"].get("name", ""), obj["metadata"].get("annotations"), spec)
        if spec.get("scope") not in SCOPES:
            causes.append(unsupported("spec.scope", spec.get("scope"), SCOPES))
        versions = spec.get("versions") or NO_ITEMS
        causes += _version_list_causes(versions)
        for index, version in enumerate(versions):
            path = f"spec.versions[{index}]"
            schema = (version.get("schema") or NOTHING).get("openAPIV3Schema")
            if schema is None:
                causes.append(required(f"{path}.schema.openAPIV3Schema", "schemas are required"))
            elif found := schema_causes(schema, f"{path}.schema.openAPIV3Schema"):
                causes += found
            else:
                causes += _selectable_causes(version, path)
            causes += _presentation_causes(version, path)
        causes += _conversion_causes(spec.get("conversion") or NOTHING)
        if old is not None:
            causes += _change_causes(obj, old)
        return causes


def _conversion_causes(conversion: Mapping[str, Any]) -> Iterator[Cause]:
    """What is wrong with how versions are converted."""
    strategy, webhook = conversion.get("strategy", "None"), conversion.get("webhook")
    path = "spec.conversion"
    if strategy not in ("None", WEBHOOK):
        yield unsupported(f"{path}.strategy", strategy, ["None", WEBHOOK])
    if strategy == "None" and webhook:
        yield forbidden(f"{path}.webhook", "should not be set when strategy is not set to Webhook")
    if strategy != WEBHOOK:
        return
    if not webhook or not webhook.get("clientConfig"):
        yield required(f"{path}.webhook.clientConfig", "required when strategy is set to Webhook")
    else:
        yield from client_causes(webhook["clientConfig"], f"{path}.webhook.clientConfig")
    reviews = (webhook or NOTHING).get("conversionReviewVersions") or NO_ITEMS
    if not reviews:
        yield required(f"{path}.webhook.conversionReviewVersions")
    elif "v1" not in reviews:
        yield invalid(f"{path}.webhook.conversionReviewVersions", reviews, "must include v1")


def accepted(definition: Mapping[str, Any], every: Iterable[Mapping[str, Any]], now: str) -> Obj:
    """The status of a definition beside ``every`` other: whether its names are its own, and it is served."""
    spec, status = definition["spec"], definition.get("status") or NOTHING
    before = {item["type"]: item for item in status.get("conditions") or NO_ITEMS}
    taken = next(_conflicts(definition, every), None)
    if taken is None:
        conditions = [
            _condition("NamesAccepted", "True", "NoConflicts", "no conflicts found", now),
            _condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now),
        ]
        names = spec.get("names") or NOTHING
    else:
        reason, message = taken
        established = before.get("Established", NOTHING).get("status") == "True"
        conditions = [_condition("NamesAccepted", "False", reason, message, now)]
        if established:
            conditions.append(dict(before["Established"]))  # who is served stays so, under the names it had
        else:
            conditions.append(_condition("Established", "False", "NotAccepted", "not all names are accepted", now))
        names = status.get("acceptedNames") or {"plural": "", "kind": ""}
    for index, item in enumerate(conditions):
        was = before.get(item["type"])
        if was is not None and was["status"] == item["status"]:
            conditions[index] = {**item, "lastTransitionTime": was.get("lastTransitionTime", now)}
    others = [item for kind, item in before.items() if kind not in ("NamesAccepted", "Established")]
    return {**status, "conditions": [*conditions, *others], "acceptedNames": names}


def _names(names: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each name with what it is taken as, and the reason a conflict over it has."""
    yield "resource", names.get("plural", ""), "PluralConflict"
    yield "resource", names.get("singular") or names.get("kind", "").lower(), "SingularConflict"
    for short in names.get("shortNames") or NO_ITEMS:
        yield "resource", short, "ShortNamesConflict"
    yield "kind", names.get("kind", ""), "KindConflict"
    yield "kind", names.get("listKind") or f"{names.get('kind', '')}List", "ListKindConflict"


def _conflicts(definition: Mapping[str, Any], every: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    spec = definition["spec"]
    taken: set[tuple[str, str]] = set()
    for info in builtin_kinds():
        if info.group == spec.get("group"):
            names = (info.plural, info.singular, *info.short_names)
            taken |= {*(("resource", name) for name in names), ("kind", info.kind), ("kind", f"{info.kind}List")}
    for other in every:
        if other["metadata"]["name"] != definition["metadata"].get("name") and other["spec"]["group"] == spec["group"]:
            names = (other.get("status") or NOTHING).get("acceptedNames") or NOTHING
            taken |= {(sort, name) for sort, name, _ in _names(names) if name and name != "List"}
    for sort, name, reason in _names(spec.get("names") or NOTHING):
        if (sort, name) in taken:
            yield reason, f'"{name}" is already in use'


def established(definition: Mapping[str, Any]) -> bool:
    """Whether a definition's objects are served."""
    return _holds(definition, "Established")


def names_accepted(definition: Mapping[str, Any]) -> bool:
    """Whether a definition has the names that it asks for."""
    return _holds(definition, "NamesAccepted")


def _holds(definition: Mapping[str, Any], condition: str) -> bool:
    conditions = (definition.get("status") or NOTHING).get("conditions") or NO_ITEMS
    return any(item["type"] == condition and item["status"] == "True" for item in conditions)


def _condition(kind: str, status: str, reason: str, message: str, now: str) -> Obj:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now}


def _stored_versions(spec: Mapping[str, Any]) -> list[str]:
    return [version["name"] for version in spec.get("versions") or NO_ITEMS if version.get("storage")]


def _name_causes(name: str, annotations: Mapping[str, str] | None, spec: Mapping[str, Any]) -> list[Cause]:
    causes: list[Cause] = []
    group, names = spec.get("group", ""), spec.get("names") or NOTHING
    if not DNS_SUBDOMAIN.match(group) or "." not in group:
        causes.append(invalid("spec.group", group, "should be a domain with at least one dot"))
    if PROTECTED.search(group) and not (annotations or {}).get(APPROVED):
        message = "protected groups must have approval annotation " + APPROVED
        causes.append(required(f"metadata.annotations[{APPROVED}]", message))
    plural = names.get("plural", "")
    if name != f"{plural}.{group}":
        message = 'must be spec.names.plural+"."+spec.group'
        causes.append(invalid("metadata.name", name, message))
    bad = [key for key in ("plural", "singular") if not DNS_LABEL.match(names.get(key, ""))]
    causes += [invalid(f"spec.names.{key}", names.get(key, ""), LABEL_MESSAGE) for key in bad]
    if not DNS_LABEL.match(names.get("kind", "").lower()):
        message = "may have mixed case, but should otherwise match: " + LABEL_MESSAGE
        causes.append(invalid("spec.names.kind", names.get("kind", ""), message))
    return causes


def _version_list_causes(versions: Sequence[Mapping[str, Any]]) -> Iterator[Cause]:
    if not versions:
        yield required("spec.versions", "must have at least one version")
        return
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield invalid("spec.versions", len(versions), "must have exactly one version marked as storage version")
    seen: set[str] = set()
    for index, version in enumerate(versions):
        name = version.get("name", "")
        if not DNS_LABEL.match(name):
            yield invalid(f"spec.versions[{index}].name", name, LABEL_MESSAGE)
        if name in seen:
            yield duplicate(f"spec.versions[{index}].name", name)
        seen.add(name)
        if version.get("deprecationWarning") and not version.get("deprecated"):
            message = "can only be set for deprecated versions"
            yield invalid(f"spec.versions[{index}].deprecationWarning", version["deprecationWarning"], message)


def _presentation_causes(version: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for index, column in enumerate(version.get("additionalPrinterColumns") or NO_ITEMS):
        where = f"{path}.additionalPrinterColumns[{index}]"
        if column.get("type") not in COLUMN_TYPES:
            yield unsupported(f"{where}.type", column.get("type"), COLUMN_TYPES)
        if not str(column.get("jsonPath", "")).startswith("."):
            yield invalid(f"{where}.jsonPath", column.get("jsonPath", ""), "must be a json path starting with .")
    scale = (version.get("subresources") or NOTHING).get("scale")
    if scale is None:
        return
    needed = {"specReplicasPath": ".spec.", "statusReplicasPath": ".status."}
    for name, begin in needed.items():
        text = scale.get(name, "")
        if not text.startswith(begin) or not _FIELD.match(text):
            yield invalid(f"{path}.subresources.scale.{name}", text, f"should be a json path under {begin[:-1]}")
    selector = scale.get("labelSelectorPath")
    if selector and not (selector.startswith((".spec.", ".status.")) and _FIELD.match(selector)):
        message = "should be a json path under either .status or .spec"
        yield invalid(f"{path}.subresources.scale.labelSelectorPath", selector, message)


def _selectable_causes(version: Mapping[str, Any], path: str) -> Iterator[Cause]:
    fields = version.get("selectableFields") or NO_ITEMS
    if len(fields) > 8:
        yield Cause(
            "FieldValueTooMany", f"Too many: {len(fields)}: must have at most 8 items", f"{path}.selectableFields"
        )
    root = compile_schema(version["schema"]["openAPIV3Schema"]).node
    for index, field in enumerate(fields):
        where, text = f"{path}.selectableFields[{index}].jsonPath", field.get("jsonPath", "")
        if not _FIELD.match(text) or text.startswith(".metadata"):
            yield invalid(where, text, "is an invalid path: must be a simple path to a field that is not metadata")
            continue
        node = root
        for step in text[1:].split("."):
            node = node.child(step) if node is not None and step in node.properties else None
        if node is None or node.type not in ("string", "boolean", "integer"):
            yield invalid(where, text, "must point to a field of type string, boolean or integer of the schema")


def _change_causes(obj: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Cause]:
    spec = obj["spec"]
    for name in ("group", "scope"):
        if spec.get(name) != old["spec"].get(name):
            yield immutable(f"spec.{name}", spec.get(name))
    for name in ("plural", "kind"):
        if (spec.get("names") or NOTHING).get(name) != old["spec"]["names"].get(name) and established(old):
            yield immutable(f"spec.names.{name}", (spec.get("names") or NOTHING).get(name))
    kept = {version.get("name") for version in spec.get("versions") or NO_ITEMS}
    for index, name in enumerate((old.get("status") or NOTHING).get("storedVersions") or NO_ITEMS):
        if name not in kept:
            message = "missing from spec.versions; objects may be stored in it: migrate them and remove it here first"
            yield invalid(f"status.storedVersions[{index}]", name, message)
