"""APIServices: which server answers for a group version."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ketch.kube.causes import forbidden, invalid, required
from ketch.kube.codec import format_time
from ketch.kube.errors import Cause
from ketch.local.apiserver.absent import NOTHING
from ketch.local.apiserver.metadata import DNS_LABEL, DNS_SUBDOMAIN
from ketch.local.apiserver.strategies.base import Context, Obj, Strategy
from ketch.local.apiserver.strategies.registrations import bundle_causes

LOCAL = {
    "type": "Available",
    "status": "True",
    "reason": "Local",
    "message": "Local APIServices are always available",
}
HIGHEST_GROUP, HIGHEST_VERSION = 20000, 1000


class APIServiceStrategy(Strategy):
    """apiregistration.k8s.io/v1 APIService."""

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """The port of a Service; who needs none is there."""
        self._complete(obj)
        if not obj["spec"].get("service"):
            since = format_time(context.now.replace(microsecond=0))
            obj["status"] = {"conditions": [{**LOCAL, "lastTransitionTime": since}]}

    def _complete(self, obj: Obj) -> None:
        if service := obj.setdefault("spec", {}).get("service"):
            service.setdefault("port", 443)

    def prepare_update(self, obj: Obj, old: Mapping[str, Any], context: Context) -> None:
        """The port of a Service."""
        self._complete(obj)

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Its name is version and group; its server can be found and known."""
        return tuple(_causes(obj["metadata"].get("name", ""), obj.get("spec") or NOTHING))


def _causes(name: str, spec: Mapping[str, Any]) -> Iterator[Cause]:
    group, version, service = spec.get("group", ""), spec.get("version", ""), spec.get("service")
    if name != f"{version}.{group}":
        yield invalid("metadata.name", name, f'must be `spec.version+"."+spec.group`: "{version}.{group}"')
    if group and not DNS_SUBDOMAIN.match(group):
        yield invalid("spec.group", group, "must be a lowercase RFC 1123 subdomain")
    if not DNS_LABEL.match(version):
        yield invalid("spec.version", version, "must be a lowercase RFC 1123 label")
    for field, highest in (("groupPriorityMinimum", HIGHEST_GROUP), ("versionPriority", HIGHEST_VERSION)):
        if not 0 < spec.get(field, 0) <= highest:
            yield invalid(f"spec.{field}", spec.get(field, 0), f"must be positive and less than {highest}")
    if not service:
        for field in ("insecureSkipTLSVerify", "caBundle"):
            if spec.get(field):
                yield invalid(f"spec.{field}", "<set>", "local APIServices may not have it")
        return
    for field in ("namespace", "name"):
        if not service.get(field):
            yield required(f"spec.service.{field}")
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        yield forbidden("spec.insecureSkipTLSVerify", "may not be true if caBundle is present")
    yield from bundle_causes(spec.get("caBundle"), "spec.caBundle")
