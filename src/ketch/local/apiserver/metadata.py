"""metadata, as the server keeps it: identity that nobody may change, generation, deletion."""

import re
import secrets
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from ketch.kube.causes import invalid
from ketch.kube.codec import format_time
from ketch.kube.errors import BadRequest, Cause
from ketch.local.apiserver.absent import NO_ITEMS
from ketch.local.apiserver.resources import ServedResource

SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
SUFFIX_LENGTH = 5
LONGEST_GENERATED = 63 - SUFFIX_LENGTH
TOTAL_ANNOTATION_LIMIT = 256 * 1024
KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")
"""Fields that only the server sets."""

_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
DNS_SUBDOMAIN = re.compile(f"^{_SUBDOMAIN}$")
PATH_SEGMENT = re.compile(r"^(?!\.{1,2}$)[^/%]+$")
QUALIFIED_NAME = re.compile(f"^({_SUBDOMAIN}/)?{_LABEL}$")
LABEL_VALUE = re.compile(f"^({_LABEL})?$")

SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
QUALIFIED_MESSAGE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
LABEL_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
FREELY_NAMED = ("rbac.authorization.k8s.io", "apiregistration.k8s.io")
"""Groups whose objects' names must only fit into a path."""

LABEL_NAMED = frozenset({"/namespaces", "/services"})
"""Kinds whose names are DNS labels; others are subdomains."""


def generated_name(base: str) -> str:
    """``base`` with a random suffix, short enough for a label."""
    return base[:LONGEST_GENERATED] + "".join(secrets.choice(SUFFIX_ALPHABET) for _ in range(SUFFIX_LENGTH))


def begin(obj: dict[str, Any], namespace: str, now: datetime) -> None:
    """Give a new object its identity; ``obj`` and its metadata are the caller's own."""
    meta = obj["metadata"]
    for name in (*KEPT, "resourceVersion"):
        meta.pop(name, None)
    if namespace:
        meta["namespace"] = namespace
    else:
        meta.pop("namespace", None)
    meta["uid"] = str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
    meta["creationTimestamp"] = format_time(now.replace(microsecond=0))


def keep(obj: dict[str, Any], old: Mapping[str, Any]) -> None:
    """Take over from ``old`` what an update cannot change."""
    meta, kept = obj["metadata"], old["metadata"]
    for name in (*KEPT, "name", "namespace", "generateName"):
        if name in kept:
            meta[name] = kept[name]
        else:
            meta.pop(name, None)
    if "deletionTimestamp" in kept and meta.get("finalizers"):
        # Once deletion has begun finalizers may only go.
        allowed = kept.get("finalizers") or NO_ITEMS
        meta["finalizers"] = [item for item in meta["finalizers"] if item in allowed]
    for name in ("labels", "annotations", "finalizers", "ownerReferences"):
        if name in meta and not meta[name]:
            del meta[name]


def advance_generation(resource: ServedResource, obj: dict[str, Any], old: Mapping[str, Any] | None) -> None:
    """Count changes of what is desired: all but metadata, and status where that is a subresource."""
    meta = obj["metadata"]
    if old is None:
        if resource.custom or resource.has_status or "spec" in obj:
            meta["generation"] = 1
        return
    ignored = {"metadata", "status"} if resource.has_status or not resource.custom else {"metadata"}
    changed = any(obj.get(name) != old.get(name) for name in {*obj, *old} - ignored - {"apiVersion", "kind"})
    if "generation" in old["metadata"]:
        meta["generation"] = old["metadata"]["generation"] + (1 if changed else 0)


def check_path(obj: dict[str, Any], resource: ServedResource, namespace: str, name: str) -> None:
    """Make the body agree with the URL: kind, namespace and name may be left out but not differ. Raises BadRequest."""
    group, _, version = str(obj.setdefault("apiVersion", resource.api_version)).rpartition("/")
    kind = obj.setdefault("kind", resource.kind)
    if (group, version, kind) != (resource.group, resource.version, resource.kind):
        raise BadRequest(
            f'{kind} in version "{obj["apiVersion"]}" cannot be handled as a {resource.kind}: '
            f"this URL takes {resource.kind} of {resource.api_version}"
        )
    meta = obj.get("metadata")
    if meta is None:
        meta = obj["metadata"] = {}
    if not isinstance(meta, dict):
        raise BadRequest("metadata: must be an object")
    told = meta.get("namespace")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # JSON
    if resource.namespaced and told and told != namespace:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request "
            f"({told} != {namespace})"
        )
    if name:
        meta = obj["metadata"] = {"name": name, **cast("dict[str, Any]", meta)}  # the sender's own stays as it is
        if (told := meta["name"]) != name:
            raise BadRequest(f"the name of the object ({told}) does not match the name on the URL ({name})")


def _name_causes(resource: ServedResource, name: str) -> list[Cause]:
    if not name:
        return [Cause("FieldValueRequired", "Required value: name or generateName is required", "metadata.name")]
    if resource.group in FREELY_NAMED:
        ok, message = bool(PATH_SEGMENT.match(name)), "may not contain '/' or '%', and may not be '.' or '..'"
    elif resource.storage in LABEL_NAMED:
        ok, message = bool(DNS_LABEL.match(name)) and len(name) <= 63, LABEL_MESSAGE
        if len(name) > 63:
            message = "must be no more than 63 characters"
    else:
        ok, message = bool(DNS_SUBDOMAIN.match(name)) and len(name) <= 253, SUBDOMAIN_MESSAGE
        if len(name) > 253:
            message = "must be no more than 253 characters"
    return [] if ok else [invalid("metadata.name", name, message)]


def label_causes(labels: Mapping[str, Any], path: str) -> list[Cause]:
    """What is wrong with labels."""
    causes: list[Cause] = []
    for key, value in labels.items():
        if not QUALIFIED_NAME.match(key):
            causes.append(invalid(path, key, QUALIFIED_MESSAGE))
        if not isinstance(value, str) or not LABEL_VALUE.match(value):
            message = "must be no more than 63 bytes" if len(str(value)) > 63 else LABEL_VALUE_MESSAGE
            causes.append(invalid(path, value, message))
    return causes


def _owner_causes(meta: Mapping[str, Any]) -> list[Cause]:
    causes: list[Cause] = []
    controllers = 0
    for index, owner in enumerate(meta.get("ownerReferences") or NO_ITEMS):
        path = f"metadata.ownerReferences[{index}]"
        missing = [name for name in ("apiVersion", "kind", "name", "uid") if not owner.get(name)]
        causes += [invalid(f"{path}.{name}", "", f"{name} must not be empty") for name in missing]
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        message = "Only one reference can have Controller set to true."
        causes.append(invalid("metadata.ownerReferences", controllers, message))
    return causes


def causes(resource: ServedResource, obj: Mapping[str, Any]) -> list[Cause]:
    """What is wrong with an object's metadata."""
    meta = obj["metadata"]
    found = _name_causes(resource, meta.get("name", ""))
    if labels := meta.get("labels"):
        found += label_causes(labels, "metadata.labels")
    if annotations := meta.get("annotations"):
        found += [
            invalid("metadata.annotations", key, QUALIFIED_MESSAGE)
            for key in annotations
            if not QUALIFIED_NAME.match(key.lower()) and not QUALIFIED_NAME.match(key)
        ]
        if sum(len(key) + len(value) for key, value in annotations.items()) > TOTAL_ANNOTATION_LIMIT:
            message = f"Too long: may not be more than {TOTAL_ANNOTATION_LIMIT} bytes"
            found.append(Cause("FieldValueTooLong", message, "metadata.annotations"))
    if meta.get("ownerReferences"):
        found += _owner_causes(meta)
    return found
