"""ValidatingAdmissionPolicies: rules in expressions, bound to what they are about, with parameters."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ketch.kube.errors import APIError, Cause, Forbidden, Invalid, StatusDetails, TooLarge, Unauthorized
from ketch.local.apiserver import cel
from ketch.local.apiserver.absent import NO_ITEMS, NOTHING
from ketch.local.apiserver.admission.asked import Asked
from ketch.local.apiserver.admission.conditions import Variables, all_hold
from ketch.local.apiserver.admission.matching import EXEMPT, covers, in_scope, selects, version_for
from ketch.local.apiserver.auth.rbac import Authorizer
from ketch.local.apiserver.cel.errors import CELError
from ketch.local.apiserver.resources import Registry
from ketch.local.apiserver.strategies.base import Listing, Lookup

GROUP = "admissionregistration.k8s.io"
POLICIES, BINDINGS = f"{GROUP}/validatingadmissionpolicies", f"{GROUP}/validatingadmissionpolicybindings"
_ERRORS: Mapping[str, type[APIError]] = {
    "Invalid": Invalid,
    "Forbidden": Forbidden,
    "Unauthorized": Unauthorized,
    "RequestEntityTooLarge": TooLarge,
}


class Composed(Mapping[str, Any]):
    """``variables``: each evaluated once, when first asked for; those before it may be used."""

    def __init__(self, declared: Sequence[Mapping[str, Any]], variables: Variables, params: Any) -> None:
        self._declared = {item["name"]: item["expression"] for item in declared}
        self._variables = variables
        self._params = params
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            text = self._declared[name]
            self._known[name] = self._variables.evaluate(text, cel.DYN, variables=self, params=self._params)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)


class Policies:
    """Asks the policies that the store has."""

    def __init__(self, registry: Registry, authorizer: Authorizer, lookup: Lookup, listing: Listing) -> None:
        self._registry = registry
        self._authorizer = authorizer
        self.lookup = lookup
        self.listing = listing

    def validate(self, asked: Asked, warnings: list[str]) -> None:
        """Raises APIError for a refusal."""
        if asked.resource.storage in EXEMPT:
            return
        for binding in self.listing(BINDINGS, None):
            policy = self.lookup(POLICIES, "", binding["spec"].get("policyName", ""))
            if policy is not None:
                self._ask(policy, binding, asked, warnings)

    def _ask(self, policy: Mapping[str, Any], binding: Mapping[str, Any], asked: Asked, warnings: list[str]) -> None:
        spec = policy["spec"]
        seen = self.seen(spec.get("matchConstraints") or NOTHING, asked)
        if seen is None or not self.within(binding["spec"].get("matchResources"), asked):
            return
        variables = self.variables(seen)
        judged = _Judgement(policy, binding, asked, warnings)
        try:
            if not all_hold(spec, variables):
                return
            for params in self.parameters(spec, binding["spec"], asked):
                self._judge(spec, variables, params, judged)
        except CELError as error:
            judged.failed(str(error))

    def variables(self, seen: Asked) -> Variables:
        """What expressions about a write see."""
        namespace = self.lookup("/namespaces", "", seen.namespace) if seen.namespace else None
        return Variables(seen, namespace, self._authorizer)

    def seen(self, constraints: Mapping[str, Any], asked: Asked) -> Asked | None:
        """The write as the policy sees it; None when it is not about it."""
        excluded = constraints.get("excludeResourceRules") or NO_ITEMS
        if any(_covers(rule, asked) for rule in excluded):
            return None
        rules = [rule for rule in constraints.get("resourceRules") or NO_ITEMS if _named(rule, asked)]
        equivalent = constraints.get("matchPolicy", "Equivalent") == "Equivalent"
        version = version_for(asked, rules, self._registry, equivalent=equivalent)
        if version is None or not in_scope(asked, constraints, self.lookup):
            return None
        return asked.in_version(version)

    def within(self, narrowed: Mapping[str, Any] | None, asked: Asked) -> bool:
        """Whether a binding's ``matchResources`` take the write; without rules they only select."""
        if not narrowed:
            return True
        if narrowed.get("resourceRules"):
            return self.seen(narrowed, asked) is not None
        return in_scope(asked, narrowed, self.lookup)

    def parameters(
        self, spec: Mapping[str, Any], bound: Mapping[str, Any], asked: Asked
    ) -> Iterator[Mapping[str, Any] | None]:
        """The parameters of a policy, as a binding names them. Raises EvaluationError where they must be there."""
        kind, reference = spec.get("paramKind"), bound.get("paramRef")
        if not kind:
            yield None
            return
        group, _, version = str(kind.get("apiVersion", "")).rpartition("/")
        resource = self._registry.find_kind(group, version, kind.get("kind", ""))
        found: list[Mapping[str, Any]] = []
        if resource is not None and reference:
            namespace = (reference.get("namespace") or asked.namespace) if resource.namespaced else ""
            if reference.get("name"):
                one = self.lookup(resource.storage, namespace, reference["name"])
                found = [one] if one is not None else []
            else:
                every = self.listing(resource.storage, namespace or None)
                labels = ((item, item["metadata"].get("labels") or NOTHING) for item in every)
                found = [item for item, own in labels if selects(reference.get("selector"), (own,))]
        if found or (reference or NOTHING).get("parameterNotFoundAction") == "Allow":
            yield from found
            return
        raise cel.EvaluationError("no params found for policy binding with `Deny` parameterNotFoundAction")

    def _judge(
        self, spec: Mapping[str, Any], variables: Variables, params: Mapping[str, Any] | None, judged: "_Judgement"
    ) -> None:
        composed = Composed(spec.get("variables") or NO_ITEMS, variables, params)
        for validation in spec.get("validations") or NO_ITEMS:
            text = validation["expression"]
            try:
                good = variables.evaluate(text, variables=composed, params=params)
            except cel.EvaluationError as error:
                judged.failed(f"expression '{text}' resulted in error: {error}")
                continue
            if good is not True:
                message = validation.get("message") or f"failed expression: {' '.join(text.split())}"
                if validation.get("messageExpression"):
                    message = self._message(validation, variables, composed, params) or message
                judged.refused(message, validation.get("reason") or "Invalid")

    def _message(self, validation: Mapping[str, Any], variables: Variables, composed: Composed, params: Any) -> str:
        try:
            found = variables.evaluate(validation["messageExpression"], cel.STRING, variables=composed, params=params)
        except CELError:
            return ""
        return str(found).strip()


class _Judgement:
    """What one policy, bound once, comes to: a refusal, a warning, or neither."""

    def __init__(
        self, policy: Mapping[str, Any], binding: Mapping[str, Any], asked: Asked, warnings: list[str]
    ) -> None:
        self._names = policy["metadata"]["name"], binding["metadata"]["name"]
        self._fails_open = policy["spec"].get("failurePolicy") == "Ignore"
        self._actions = binding["spec"].get("validationActions") or NO_ITEMS
        self._asked = asked
        self._warnings = warnings

    def failed(self, why: str) -> None:
        """The policy could not be asked. Raises Invalid unless its failure is to be ignored."""
        if not self._fails_open:
            self.refused(why, "Invalid")

    def refused(self, why: str, reason: str) -> None:
        """The policy says no. Raises APIError where the binding denies."""
        policy, binding = self._names
        if "Warn" in self._actions:
            who = f"ValidatingAdmissionPolicy '{policy}' with binding '{binding}'"
            self._warnings.append(f"Validation failed for {who}: {why}")
        if "Deny" not in self._actions:
            return
        resource, name = self._asked.resource, self._asked.name
        text = f"ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {why}"
        details = StatusDetails(name=name, group=resource.group, kind=resource.plural, causes=(Cause(reason, text),))
        kind = _ERRORS.get(reason, Invalid)
        raise kind(f'{resource.qualified} "{name}" is {"invalid" if kind is Invalid else "forbidden"}: {text}', details)


def _covers(rule: Mapping[str, Any], asked: Asked) -> bool:
    return covers(rule, asked.operation, asked.resource, asked.subresource) and _named(rule, asked)


def _named(rule: Mapping[str, Any], asked: Asked) -> bool:
    names = rule.get("resourceNames") or NO_ITEMS
    return not names or asked.name in names
