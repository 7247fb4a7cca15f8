"""Deployments, ReplicaSets, Jobs and their like: templates that fit their selectors, and what may not change."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ketch.kube.causes import invalid, required, unsupported
from ketch.kube.codec import decode
from ketch.kube.errors import Cause
from ketch.kube.meta import LabelSelector
from ketch.kube.selectors import matcher
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.strategies.base import Context, Obj, Strategy
from ketch.local.apiserver.strategies.pods import pod_spec_causes

UID_LABEL = "batch.kubernetes.io/controller-uid"
NAME_LABEL = "batch.kubernetes.io/job-name"
TRACKING = "batch.kubernetes.io/job-tracking"
IMMUTABLE = "field is immutable"
FAILURE_ACTIONS = ["Count", "FailIndex", "FailJob", "Ignore"]
MOST_RULES = 20
"""Of a podFailurePolicy."""
_RUN = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


class TemplateStrategy(Strategy):
    """Kinds with ``spec.template`` and a ``spec.selector`` that must not change."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """The template is a good pod, its labels are selected, its policy is Always."""
        spec = obj["spec"]
        template = spec.get("template") or NOTHING
        claims = [claim["metadata"].get("name", "") for claim in spec.get("volumeClaimTemplates") or NO_ITEMS]
        causes = pod_spec_causes(template.get("spec") or NOTHING, "spec.template.spec", claims)
        selector = spec.get("selector")
        if not selector or not (selector.get("matchLabels") or selector.get("matchExpressions")):
            causes.append(
                required("spec.selector")
                if not selector
                else invalid("spec.selector", {}, "empty selector is invalid for " + obj["kind"].lower())
            )
        else:
            labels = (template.get("metadata") or NOTHING).get("labels") or NOTHING
            if not matcher(decode(LabelSelector, selector))(labels):
                causes.append(
                    invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
                )
        if (template.get("spec") or NOTHING).get("restartPolicy", "Always") != "Always":
            causes.append(
                unsupported("spec.template.spec.restartPolicy", template["spec"]["restartPolicy"], ["Always"])
            )
        if spec.get("replicas", 0) < 0:
            causes.append(invalid("spec.replicas", spec["replicas"], "must be greater than or equal to 0"))
        if old is not None and old["spec"].get("selector") != selector:
            causes.append(invalid("spec.selector", selector, IMMUTABLE))
        return causes


class JobStrategy(Strategy):
    """batch/v1 Job."""

    def prepare_create(self, obj: Obj, context: Context) -> None:
        """Make selector and labels unless the user does it by hand."""
        spec, meta = obj["spec"], obj["metadata"]
        if spec.get("manualSelector") or not isinstance(spec.get("template"), dict):
            return
        template = spec["template"]
        template_meta = template.setdefault("metadata", {})
        own = {
            UID_LABEL: meta["uid"],
            "controller-uid": meta["uid"],
            NAME_LABEL: meta.get("name", ""),
            "job-name": meta.get("name", ""),
        }
        template_meta["labels"] = {**(template_meta.get("labels") or NOTHING), **own}
        spec["selector"] = {"matchLabels": {UID_LABEL: meta["uid"]}}
        obj["metadata"].setdefault("labels", dict(template_meta["labels"]))

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Counts, policies, and what may not change."""
        spec = obj["spec"]
        template_spec = (spec.get("template") or NOTHING).get("spec") or NOTHING
        causes = pod_spec_causes(template_spec, "spec.template.spec")
        if template_spec.get("restartPolicy") not in ("OnFailure", "Never"):
            supported = ["OnFailure", "Never"]
            causes.append(
                unsupported("spec.template.spec.restartPolicy", template_spec.get("restartPolicy"), supported)
            )
        for name in (
            "parallelism",
            "completions",
            "backoffLimit",
            "activeDeadlineSeconds",
            "ttlSecondsAfterFinished",
            "backoffLimitPerIndex",
            "maxFailedIndexes",
        ):
            if isinstance(spec.get(name), int) and spec[name] < 0:
                causes.append(invalid(f"spec.{name}", spec[name], "must be greater than or equal to 0"))
        if spec.get("completionMode") == "Indexed" and "completions" not in spec:
            causes.append(required("spec.completions", "when completion mode is Indexed"))
        causes += self._success_policy(spec)
        causes += self._limits_by_index(spec, template_spec)
        causes += self._failure_policy(spec, template_spec)
        causes += self._replacement(spec)
        if old is not None:
            causes += self._changes(spec, old["spec"])
        return causes

    def _limits_by_index(self, spec: Mapping[str, Any], template_spec: Mapping[str, Any]) -> Iterable[Cause]:
        limit, most = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
        if limit is None:
            if most is not None:
                yield required("spec.backoffLimitPerIndex", "when maxFailedIndexes is specified")
            return
        if spec.get("completionMode") != "Indexed":
            yield invalid("spec.backoffLimitPerIndex", limit, "requires indexed completion mode")
        if template_spec.get("restartPolicy") != "Never":
            message = "must be Never when backoffLimitPerIndex is specified"
            yield invalid("spec.template.spec.restartPolicy", template_spec.get("restartPolicy"), message)
        if isinstance(most, int) and most > (spec.get("completions") or 0):
            yield invalid("spec.maxFailedIndexes", most, "must be less than or equal to completions")

    def _success_policy(self, spec: Mapping[str, Any]) -> Iterable[Cause]:
        policy, path = spec.get("successPolicy"), "spec.successPolicy"
        if not policy:
            return
        if spec.get("completionMode") != "Indexed":
            yield invalid(path, policy, "requires indexed completion mode")
        rules: Sequence[Mapping[str, Any]] = policy.get("rules") or ()
        if not rules:
            yield required(f"{path}.rules", "at least one rule must be specified")
        for number, rule in enumerate(rules):
            here, text, count = f"{path}.rules[{number}]", rule.get("succeededIndexes"), rule.get("succeededCount")
            if text is None and count is None:
                yield required(here, "at least one of succeededCount or succeededIndexes must be specified")
            if text is not None and not _lists_indexes(text, spec.get("completions") or 0):
                message = "must list indexes below spec.completions in ascending order, such as 0,2-4"
                yield invalid(f"{here}.succeededIndexes", text, message)
            if isinstance(count, int) and not 0 < count <= (spec.get("completions") or 0):
                yield invalid(f"{here}.succeededCount", count, "must be from 1 to spec.completions")

    def _failure_policy(self, spec: Mapping[str, Any], template_spec: Mapping[str, Any]) -> Iterable[Cause]:
        policy, path = spec.get("podFailurePolicy"), "spec.podFailurePolicy"
        if not policy:
            return
        if template_spec.get("restartPolicy") != "Never":
            yield invalid(
                path, policy, "only `Never` is supported for restartPolicy when podFailurePolicy is specified"
            )
        rules: Sequence[Mapping[str, Any]] = policy.get("rules") or ()
        if len(rules) > MOST_RULES:
            yield invalid(f"{path}.rules", len(rules), f"must have at most {MOST_RULES} items")
        names = {
            each.get("name") for kind in ("containers", "initContainers") for each in template_spec.get(kind) or ()
        }
        for number, rule in enumerate(rules):
            here, action = f"{path}.rules[{number}]", rule.get("action")
            if action not in FAILURE_ACTIONS:
                yield unsupported(f"{here}.action", action, FAILURE_ACTIONS)
            if action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
                yield invalid(f"{here}.action", action, "requires the backoffLimitPerIndex to be set")
            codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
            if bool(codes) == bool(conditions):
                message = "specifying one of OnExitCodes and OnPodConditions is required, and not both"
                yield invalid(here, rule, message)
            if codes:
                yield from self._exit_codes(codes, f"{here}.onExitCodes", names)

    def _exit_codes(self, codes: Mapping[str, Any], path: str, containers: Collection[Any]) -> Iterable[Cause]:
        values: list[int] = list(codes.get("values") or ())
        operator = codes.get("operator")
        if operator not in ("In", "NotIn"):
            yield unsupported(f"{path}.operator", operator, ["In", "NotIn"])
        if not values:
            yield invalid(f"{path}.values", values, "at least one value is required")
        if operator == "In" and 0 in values:
            yield invalid(f"{path}.values[{values.index(0)}]", 0, "must not be 0 for the In operator")
        if values != sorted(set(values)):
            yield invalid(f"{path}.values", values, "must be ordered and without duplicates")
        name = codes.get("containerName")
        if name is not None and name not in containers:
            yield invalid(
                f"{path}.containerName", name, "must be one of the container or initContainer names in the pod template"
            )

    def _replacement(self, spec: Mapping[str, Any]) -> Iterable[Cause]:
        policy, supported = spec.get("podReplacementPolicy"), ["Failed", "TerminatingOrFailed"]
        if policy is not None and policy not in supported:
            yield unsupported("spec.podReplacementPolicy", policy, supported)
        if spec.get("podFailurePolicy") and policy == "TerminatingOrFailed":
            yield unsupported("spec.podReplacementPolicy", policy, ["Failed"])

    def _changes(self, spec: Mapping[str, Any], old: Mapping[str, Any]) -> list[Cause]:
        fixed = ["selector", "completionMode", "podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "managedBy"]
        if not (old.get("suspend") and "startTime" not in old):
            fixed.append("template")
        if spec.get("completionMode") != "Indexed" or spec.get("completions") != spec.get("parallelism"):
            fixed.append("completions")  # an elastic Job changes both to the same number
        return [invalid(f"spec.{name}", spec.get(name), IMMUTABLE) for name in fixed if spec.get(name) != old.get(name)]


def _lists_indexes(text: str, limit: int) -> bool:
    """Whether ``text`` lists indexes below ``limit`` as ``0,2-4``, each after the one before it."""
    last = -1
    for part in text.split(","):
        run = _RUN.fullmatch(part)
        if run is None:
            return False
        begin, end = int(run[1]), int(run[2] or run[1])
        if begin <= last or end < begin:
            return False
        last = end
    return last < limit
