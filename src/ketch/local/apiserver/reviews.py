"""Questions that are answered and not kept: who am I, may I, is this token good."""

from collections.abc import Mapping
from typing import Any

from ketch.kube.errors import BadRequest
from ketch.local.apiserver.admission.asked import described
from ketch.local.apiserver.auth.identity import MASTERS, UserInfo
from ketch.local.apiserver.auth.rbac import Attributes, Authorizer
from ketch.local.apiserver.auth.tokens import ISSUER, TokenError, Tokens
from ketch.local.apiserver.requests import Call, Target, section, texts


def _attributes(spec: Mapping[str, Any]) -> Attributes:
    if path := section(spec, "nonResourceAttributes"):
        if section(spec, "resourceAttributes"):
            raise BadRequest("spec: cannot specify both nonResourceAttributes and resourceAttributes")
        return Attributes(str(path.get("verb", "")), path=str(path.get("path", "")))
    asked = section(spec, "resourceAttributes")
    if not asked:
        raise BadRequest("spec: exactly one of nonResourceAttributes or resourceAttributes must be specified")
    names = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(**{name: str(asked.get(name, "")) for name in names})


class Reviews:
    """Answers for authentication.k8s.io and authorization.k8s.io."""

    def __init__(self, authorizer: Authorizer, tokens: Tokens) -> None:
        self._authorizer = authorizer
        self._tokens = tokens

    def answer(self, call: Call, target: Target) -> dict[str, Any]:
        """The review with its status. Raises BadRequest."""
        body = call.object_body("review")
        body.setdefault("metadata", {})
        body["status"] = self._status(call, target, section(body, "spec"))
        return body

    def _status(self, call: Call, target: Target, spec: Mapping[str, Any]) -> dict[str, Any]:
        match target.plural:
            case "selfsubjectreviews":
                return {"userInfo": described(call.user)}
            case "tokenreviews":
                try:
                    user = self._tokens.authenticate(str(spec.get("token", "")), texts(spec, "audiences"))
                except TokenError as error:
                    return {"authenticated": False, "error": str(error), "user": {}}
                wanted = texts(spec, "audiences") or (ISSUER,)
                audiences = [each for each in wanted if each in self._tokens.audiences(str(spec["token"]))]
                return {"authenticated": True, "user": described(user), "audiences": audiences}
            case "selfsubjectrulesreviews":
                rules = list(self._authorizer.rules(call.user, str(spec.get("namespace", ""))))
                names = ("verbs", "apiGroups", "resources", "resourceNames")
                resources = [
                    {key: rule[key] for key in names if key in rule} for rule in rules if rule.get("resources")
                ]
                paths = [
                    {"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]}
                    for rule in rules
                    if rule.get("nonResourceURLs")
                ]
                return {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
            case "selfsubjectaccessreviews":
                return self._decision(call.user, _attributes(spec))
            case _:
                user = UserInfo(str(spec.get("user", "")), texts(spec, "groups"), str(spec.get("uid", "")))
                if not user.name and not user.groups:
                    raise BadRequest("spec.user: Required value: at least one of user or groups must be specified")
                asked = _attributes(spec)
                if target.namespace:
                    if asked.namespace not in ("", target.namespace):
                        raise BadRequest("spec.resourceAttributes.namespace: must match metadata.namespace")
                    asked = asked._replace(namespace=target.namespace)
                return self._decision(user, asked)

    def _decision(self, user: UserInfo, asked: Attributes) -> dict[str, Any]:
        if MASTERS in user.groups:
            return {"allowed": True}
        why = self._authorizer.why(user, asked)
        return {"allowed": True, "reason": why} if why else {"allowed": False}
