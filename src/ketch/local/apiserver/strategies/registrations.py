"""Webhooks and policies that users register: what can be asked, and who."""

import base64
import binascii
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ketch.kube.causes import duplicate, forbidden, invalid, required, unsupported
from ketch.kube.errors import Cause
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.metadata import DNS_SUBDOMAIN
from ketch.local.apiserver.strategies.base import Context, Obj, Strategy

OPERATIONS = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]
SCOPES = ["*", "Cluster", "Namespaced"]
FAILURE = ["Fail", "Ignore"]
MATCH = ["Equivalent", "Exact"]
SIDE_EFFECTS = ["None", "NoneOnDryRun"]
REINVOCATION = ["IfNeeded", "Never"]
REVIEWS = ("v1", "v1beta1")
ACTIONS = ["Audit", "Deny", "Warn"]
REASONS = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"]
LONGEST_SECONDS = 30
PATCH_TYPES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
"""How a policy may change an object, and the field that says it."""

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


class WebhookStrategy(Strategy):
    """Mutating- and ValidatingWebhookConfigurations."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Each webhook can be asked."""
        causes: list[Cause] = []
        seen: set[str] = set()
        for index, hook in enumerate(obj.get("webhooks") or NO_ITEMS):
            path, name = f"webhooks[{index}]", hook.get("name", "")
            if not DNS_SUBDOMAIN.match(name) or name.count(".") < 2:
                message = "should be a domain with at least three segments separated by dots"
                causes.append(invalid(f"{path}.name", name, message))
            if name in seen:
                causes.append(duplicate(f"{path}.name", name))
            seen.add(name)
            causes += _hook_causes(hook, path)
        return causes


def _choice(holder: Mapping[str, Any], name: str, path: str, supported: Sequence[str]) -> Iterator[Cause]:
    if holder.get(name) not in supported:
        yield unsupported(f"{path}.{name}", holder.get(name), supported)


def _hook_causes(hook: Mapping[str, Any], path: str) -> Iterator[Cause]:
    yield from _choice(hook, "failurePolicy", path, FAILURE)
    yield from _choice(hook, "matchPolicy", path, MATCH)
    if not hook.get("sideEffects"):
        yield required(f"{path}.sideEffects", f"must specify one of {', '.join(SIDE_EFFECTS)}")
    else:
        yield from _choice(hook, "sideEffects", path, SIDE_EFFECTS)
    if "reinvocationPolicy" in hook:
        yield from _choice(hook, "reinvocationPolicy", path, REINVOCATION)
    if not 1 <= hook.get("timeoutSeconds", 0) <= LONGEST_SECONDS:
        message = f"the timeout value must be between 1 and {LONGEST_SECONDS} seconds"
        yield invalid(f"{path}.timeoutSeconds", hook.get("timeoutSeconds"), message)
    reviews = hook.get("admissionReviewVersions") or NO_ITEMS
    if not reviews:
        yield required(f"{path}.admissionReviewVersions", f"must specify one of {', '.join(REVIEWS)}")
    elif not set(reviews) & set(REVIEWS):
        message = f"must include at least one of {', '.join(REVIEWS)}"
        yield invalid(f"{path}.admissionReviewVersions", reviews, message)
    yield from client_causes(hook.get("clientConfig") or NOTHING, f"{path}.clientConfig")
    for index, rule in enumerate(hook.get("rules") or NO_ITEMS):
        yield from rule_causes(rule, f"{path}.rules[{index}]")
    yield from condition_causes(hook.get("matchConditions") or NO_ITEMS, f"{path}.matchConditions")


def client_causes(client: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """What is wrong with where a webhook is."""
    url, service = client.get("url"), client.get("service")
    if bool(url) == bool(service):
        yield required(path, "exactly one of url or service is required")
    elif url:
        parts = urlsplit(str(url))
        if parts.scheme != "https" or not parts.hostname:
            yield invalid(f"{path}.url", url, "must be an https URL with a host")
        elif parts.query or parts.fragment or parts.username:
            yield invalid(f"{path}.url", url, "user information, query and fragment are not permitted in the URL")
    elif service:
        for name in ("namespace", "name"):
            if not service.get(name):
                yield required(f"{path}.service.{name}")
    yield from bundle_causes(client.get("caBundle"), f"{path}.caBundle")


def bundle_causes(bundle: Any, path: str) -> Iterator[Cause]:
    """What is wrong with the certificates by which a server is known."""
    if not bundle:
        return
    try:
        ssl.create_default_context(cadata=base64.b64decode(bundle, validate=True).decode())
    except (ValueError, binascii.Error, ssl.SSLError):
        yield invalid(path, "<PEM>", "must be certificates in PEM, as base64")


def rule_causes(rule: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """What is wrong with a rule on resources."""
    for name in ("operations", "apiGroups", "apiVersions", "resources"):
        values = rule.get(name) or NO_ITEMS
        if not values:
            yield required(f"{path}.{name}")
        elif "*" in values and len(values) > 1 and name != "resources":
            message = "if '*' is present, must not specify other " + name
            yield invalid(f"{path}.{name}", values, message)
    for index, operation in enumerate(rule.get("operations") or NO_ITEMS):
        if operation not in OPERATIONS:
            yield unsupported(f"{path}.operations[{index}]", operation, OPERATIONS)
    yield from _choice(rule, "scope", path, SCOPES)


def condition_causes(conditions: Sequence[Mapping[str, Any]], path: str) -> Iterator[Cause]:
    """What is wrong with conditions in expressions."""
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        where, name = f"{path}[{index}]", condition.get("name", "")
        if not name:
            yield required(f"{where}.name")
        if name in seen:
            yield duplicate(f"{where}.name", name)
        seen.add(name)
        yield from _expression_causes(condition.get("expression"), f"{where}.expression", "bool")


def _expression_causes(text: Any, path: str, wanted: str) -> Iterator[Cause]:
    from ketch.local.apiserver import cel  # noqa: PLC0415  # deferred: 20 ms, for the first expression
    from ketch.local.apiserver.admission.conditions import compile_condition  # noqa: PLC0415  # as above

    if not isinstance(text, str) or not text.strip():
        yield required(path)
        return
    try:
        compile_condition(text, {"bool": cel.BOOL, "string": cel.STRING}.get(wanted, cel.DYN))
    except cel.CompilationError as error:
        yield invalid(path, text, f"compilation failed: {error}")


class PolicyStrategy(Strategy):
    """ValidatingAdmissionPolicies."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Each expression can be read."""
        return (*_policy_causes(obj["spec"]), *self._causes(obj["spec"]))

    def _causes(self, spec: Mapping[str, Any]) -> Iterator[Cause]:
        validations = spec.get("validations") or NO_ITEMS
        if not validations and not spec.get("auditAnnotations"):
            yield required("spec.validations", "validations or auditAnnotations must be specified")
        for index, validation in enumerate(validations):
            path = f"spec.validations[{index}]"
            yield from _expression_causes(validation.get("expression"), f"{path}.expression", "bool")
            if validation.get("messageExpression"):
                yield from _expression_causes(validation["messageExpression"], f"{path}.messageExpression", "string")
            if validation.get("reason") not in (None, *REASONS):
                yield unsupported(f"{path}.reason", validation["reason"], REASONS)


def _policy_causes(spec: Mapping[str, Any]) -> Iterator[Cause]:
    """What is wrong with what policies of both kinds say: about what they are, and their variables."""
    yield from _choice(spec, "failurePolicy", "spec", FAILURE)
    constraints = spec.get("matchConstraints")
    if not constraints or not constraints.get("resourceRules"):
        yield required("spec.matchConstraints.resourceRules" if constraints else "spec.matchConstraints")
    for name in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate((constraints or NOTHING).get(name) or NO_ITEMS):
            yield from rule_causes(rule, f"spec.matchConstraints.{name}[{index}]")
    yield from condition_causes(spec.get("matchConditions") or NO_ITEMS, "spec.matchConditions")
    for index, variable in enumerate(spec.get("variables") or NO_ITEMS):
        path = f"spec.variables[{index}]"
        if not _NAME.match(variable.get("name", "")):
            yield invalid(f"{path}.name", variable.get("name", ""), "must be a name that expressions can use")
        yield from _expression_causes(variable.get("expression"), f"{path}.expression", "")


class MutatingPolicyStrategy(Strategy):
    """MutatingAdmissionPolicies."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """Each expression can be read."""
        return (*_policy_causes(obj["spec"]), *self._causes(obj["spec"]))

    def _causes(self, spec: Mapping[str, Any]) -> Iterator[Cause]:
        yield from _choice(spec, "reinvocationPolicy", "spec", REINVOCATION)
        mutations = spec.get("mutations") or NO_ITEMS
        if not mutations:
            yield required("spec.mutations", "mutations must contain at least one item")
        for index, mutation in enumerate(mutations):
            path = f"spec.mutations[{index}]"
            yield from _choice(mutation, "patchType", path, list(PATCH_TYPES))
            for kind, field in PATCH_TYPES.items():
                given = mutation.get(field)
                if kind == mutation.get("patchType"):
                    expression = (given or NOTHING).get("expression")
                    yield from _expression_causes(expression, f"{path}.{field}.expression", "")
                elif given:
                    yield forbidden(f"{path}.{field}", f"must not be set when patchType is {mutation.get('patchType')}")


class MutatingPolicyBindingStrategy(Strategy):
    """MutatingAdmissionPolicyBindings."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """A policy."""
        return _binding_causes(obj["spec"])


def _binding_causes(spec: Mapping[str, Any]) -> list[Cause]:
    """What is wrong with what bindings of both kinds say."""
    causes = [] if spec.get("policyName") else [required("spec.policyName")]
    reference = spec.get("paramRef")
    if reference and bool(reference.get("name")) == ("selector" in reference):
        causes.append(required("spec.paramRef.name", "one of name or selector must be specified"))
    return causes


class PolicyBindingStrategy(Strategy):
    """ValidatingAdmissionPolicyBindings."""

    def validate(self, obj: Obj, old: Mapping[str, Any] | None, context: Context) -> Sequence[Cause]:
        """A policy, and what its refusal does."""
        spec = obj["spec"]
        causes = _binding_causes(spec)
        actions = spec.get("validationActions") or NO_ITEMS
        if not actions:
            causes.append(required("spec.validationActions", "at least one validation action is required"))
        causes += [
            unsupported(f"spec.validationActions[{index}]", action, ACTIONS)
            for index, action in enumerate(actions)
            if action not in ACTIONS
        ]
        if {"Deny", "Warn"} <= set(actions):
            message = "must not contain both Deny and Warn: a refusal says it all"
            causes.append(invalid("spec.validationActions", actions, message))
        return causes
