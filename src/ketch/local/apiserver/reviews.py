"""Questions that are answered and not kept: who am I, may I, is this token good."""

from collections.abc import Mapping
from typing import Any

from ketch.local.apiserver.auth.identity import UserInfo
from ketch.local.apiserver.auth.rbac import Attributes, Authorizer
from ketch.local.apiserver.auth.tokens import TokenError, Tokens
from ketch.local.apiserver.requests import Call, Target, section, texts


def _described(user: UserInfo) -> dict[str, Any]:
    described: dict[str, Any] = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        described["uid"] = user.uid
    if user.extra:
        described["extra"] = {key: list(values) for key, values in user.extra.items()}
    return described


def _attributes(spec: Mapping[str, Any]) -> Attributes:
    if path := section(spec, "nonResourceAttributes"):
        return Attributes(str(path.get("verb", "")), path=str(path.get("path", "")))
    asked = section(spec, "resourceAttributes")
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
                return {"userInfo": _described(call.user)}
            case "tokenreviews":
                try:
                    user = self._tokens.authenticate(str(spec.get("token", "")), texts(spec, "audiences"))
                except TokenError as error:
                    return {"authenticated": False, "error": str(error), "user": {}}
                return {"authenticated": True, "user": _described(user), "audiences": texts(spec, "audiences")}
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
                return {"allowed": self._authorizer.allows(call.user, _attributes(spec))}
            case _:
                user = UserInfo(str(spec.get("user", "")), texts(spec, "groups"), str(spec.get("uid", "")))
                asked = _attributes(spec)
                if target.namespace:
                    asked = asked._replace(namespace=target.namespace)
                return {"allowed": self._authorizer.allows(user, asked)}
