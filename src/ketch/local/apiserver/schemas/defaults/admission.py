"""Defaults of admissionregistration.k8s.io."""

from typing import Any

from ketch.local.apiserver.schemas.defaults.core import dicts, fill

Obj = dict[str, Any]
WEBHOOK_SECONDS = 10


def webhooks(obj: Obj) -> None:
    """A ValidatingWebhookConfiguration."""
    for hook in dicts(obj.get("webhooks")):
        fill(hook, failurePolicy="Fail", matchPolicy="Equivalent", timeoutSeconds=WEBHOOK_SECONDS)
        hook.setdefault("namespaceSelector", {})
        hook.setdefault("objectSelector", {})
        for client in dicts([hook.get("clientConfig")]):
            for service in dicts([client.get("service")]):
                fill(service, port=443)
        _scopes(hook.get("rules"))


def mutating_webhooks(obj: Obj) -> None:
    """A MutatingWebhookConfiguration."""
    webhooks(obj)
    for hook in dicts(obj.get("webhooks")):
        fill(hook, reinvocationPolicy="Never")


def policy(obj: Obj) -> None:
    """A ValidatingAdmissionPolicy."""
    spec = obj.setdefault("spec", {})
    fill(spec, failurePolicy="Fail")
    for constraints in dicts([spec.get("matchConstraints")]):
        _matched(constraints)


def mutating_policy(obj: Obj) -> None:
    """A MutatingAdmissionPolicy."""
    policy(obj)
    fill(obj["spec"], reinvocationPolicy="Never")


def binding(obj: Obj) -> None:
    """A ValidatingAdmissionPolicyBinding."""
    for matched in dicts([obj.setdefault("spec", {}).get("matchResources")]):
        _matched(matched)


def _matched(matched: Obj) -> None:
    fill(matched, matchPolicy="Equivalent")
    matched.setdefault("namespaceSelector", {})
    matched.setdefault("objectSelector", {})
    _scopes(matched.get("resourceRules"))
    _scopes(matched.get("excludeResourceRules"))


def _scopes(rules: Any) -> None:
    for rule in dicts(rules):
        fill(rule, scope="*")
