"""What a container may say of its life: probes, hooks, restarts, places below volumes, its user. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ketch.kube.causes import forbidden, invalid, required, unsupported
from ketch.kube.errors import Cause
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
OF_LASTING = (*PROBES, "lifecycle")
"""What only containers may have that are to last: an ordinary init container is not."""

HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
POLICIES = ["Always", "Never", "OnFailure"]
RESTART = "Restart"
OPERATORS = ["In", "NotIn"]
MOST_RULES, MOST_CODES = 20, 255
LARGEST_ID = 2**31 - 1
HOST_PATH_TYPES = [
    *("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"),
]

Spec = Mapping[str, Any]


def life_causes(container: Spec, path: str, *, initial: bool, grace: int | None) -> Iterator[Cause]:
    """What is wrong with when the container starts, is well, ends and starts again; ``initial`` ones come first."""
    yield from _restart_causes(container, path)
    if initial and container.get("restartPolicy") != "Always":
        for name in OF_LASTING:
            if container.get(name):
                yield forbidden(f"{path}.{name}", "may not be set for init containers without restartPolicy=Always")
        return
    for name in PROBES:
        if (probe := container.get(name)) is not None:
            yield from _probe_causes(name, probe, f"{path}.{name}")
    lifecycle = container.get("lifecycle") or NOTHING
    for name in ("postStart", "preStop"):
        if (handler := lifecycle.get(name)) is not None:
            yield from _hook_causes(handler, f"{path}.lifecycle.{name}", grace)


def _restart_causes(container: Spec, path: str) -> Iterator[Cause]:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or NO_ITEMS
    if policy is not None and policy not in POLICIES:
        yield unsupported(f"{path}.restartPolicy", policy, POLICIES)
    if rules and policy is None:
        yield required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
    if len(rules) > MOST_RULES:
        yield Cause(
            "FieldValueTooLong", f"Too long: must have at most {MOST_RULES} items", f"{path}.restartPolicyRules"
        )
    for index, rule in enumerate(rules):
        where, codes = f"{path}.restartPolicyRules[{index}]", rule.get("exitCodes")
        if rule.get("action") != RESTART:
            yield unsupported(f"{where}.action", rule.get("action"), [RESTART])
        if not codes:
            yield required(f"{where}.exitCodes", "must be specified")
            continue
        if codes.get("operator") not in OPERATORS:
            yield unsupported(f"{where}.exitCodes.operator", codes.get("operator"), OPERATORS)
        if len(codes.get("values") or NO_ITEMS) > MOST_CODES:
            text = f"Too long: must have at most {MOST_CODES} items"
            yield Cause("FieldValueTooLong", text, f"{where}.exitCodes.values")


def _handlers(holder: Spec) -> Sequence[str]:
    return [name for name in HANDLERS if holder.get(name) is not None]


def _handler_causes(holder: Spec, path: str) -> Iterator[Cause]:
    """Exactly one handler, and it says what it needs."""
    found = _handlers(holder)
    if not found:
        yield required(path, "must specify a handler type")
    for name in found[1:]:
        yield forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
    if "exec" in found and not holder["exec"].get("command"):
        yield required(f"{path}.exec.command")
    for name in ("httpGet", "tcpSocket", "grpc"):
        port = (holder.get(name) or NOTHING).get("port")
        if isinstance(port, int) and not 1 <= port <= 65535:
            yield invalid(f"{path}.{name}.port", port, "must be between 1 and 65535, inclusive")


def _probe_causes(name: str, probe: Spec, path: str) -> Iterator[Cause]:
    yield from _handler_causes(probe, path)
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        if probe.get(field, 0) < 0:
            yield invalid(f"{path}.{field}", probe[field], "must be greater than or equal to 0")
    if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        yield invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and name == "readinessProbe":
        text = "must not be set for readinessProbes"
        yield invalid(f"{path}.terminationGracePeriodSeconds", grace, text)
    elif grace is not None and grace <= 0:
        yield invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")


def _hook_causes(handler: Spec, path: str, grace: int | None) -> Iterator[Cause]:
    yield from _handler_causes(handler, path)
    sleep = (handler.get("sleep") or NOTHING).get("seconds")
    longest = 30 if grace is None else grace
    if sleep is not None and not 0 <= sleep <= longest:
        yield invalid(
            f"{path}.sleep", sleep, f"must be non-negative and less than terminationGracePeriodSeconds ({longest})"
        )


def below_causes(mount: Spec, path: str) -> Iterator[Cause]:
    """What is wrong with the place below its volume that a mount names."""
    below, expression = mount.get("subPath") or "", mount.get("subPathExpr") or ""
    for name, text in (("subPath", below), ("subPathExpr", expression)):
        if text.startswith("/"):
            yield invalid(f"{path}.{name}", text, "must be a relative path")
        elif ".." in text.split("/"):
            yield invalid(f"{path}.{name}", text, "must not contain '..'")
    if below and expression:
        yield invalid(f"{path}.subPathExpr", expression, "subPathExpr and subPath are mutually exclusive")


def identity_causes(context: Spec, path: str) -> Iterator[Cause]:
    """What is wrong with the users and groups that a security context names."""
    text = f"must be between 0 and {LARGEST_ID}, inclusive"
    named = [(name, context.get(name)) for name in ("runAsUser", "runAsGroup", "fsGroup")]
    groups = context.get("supplementalGroups") or NO_ITEMS
    named += [(f"supplementalGroups[{index}]", number) for index, number in enumerate(groups)]
    for name, number in named:
        if isinstance(number, int) and not 0 <= number <= LARGEST_ID:
            yield invalid(f"{path}.{name}", number, text)
    if context.get("privileged") and context.get("allowPrivilegeEscalation") is False:
        yield invalid(path, "privileged", "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")


def host_path_causes(source: Spec, path: str) -> Iterator[Cause]:
    """What is wrong with a path of the node as a volume."""
    place = source.get("path") or ""
    if not place:
        yield required(f"{path}.path")
    elif ".." in place.split("/"):
        yield invalid(f"{path}.path", place, "must not contain '..'")
    if (kind := source.get("type")) is not None and kind not in HOST_PATH_TYPES:
        yield unsupported(f"{path}.type", kind, HOST_PATH_TYPES)


def sharing_causes(spec: Spec, path: str) -> Iterator[Cause]:
    """Whose processes a pod's containers see."""
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        text = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield invalid(f"{path}.shareProcessNamespace", True, text)
