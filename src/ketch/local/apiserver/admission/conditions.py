"""Expressions about a write: conditions of webhooks, validations of policies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

from ketch.local.apiserver import cel
from ketch.local.apiserver.absent import NO_ITEMS
from ketch.local.apiserver.admission.asked import Asked
from ketch.local.apiserver.auth.identity import UserInfo
from ketch.local.apiserver.auth.rbac import Attributes, Authorizer
from ketch.local.apiserver.auth.tokens import ACCOUNTS, account_name
from ketch.local.apiserver.cel.functions import Overload, library
from ketch.local.apiserver.cel.functions.overloads import function, member
from ketch.local.apiserver.cel.types import Type

VARIABLES: Mapping[str, cel.Type] = dict.fromkeys(
    ("object", "oldObject", "request", "namespaceObject", "params", "variables"), cel.DYN
)
REQUEST_RESOURCE = "authorizer_requestResource"
"""``authorizer.requestResource``: what is asked for, as a question about rights."""


ESCAPE_KEY = "jsonpatch_escapeKey("
NOTHING_YET = Attributes("")


@dataclass(frozen=True, slots=True)
class Check:
    """``authorizer``: a question about rights that is being put together."""

    cel_name: ClassVar[str] = "kubernetes.authorization.Authorizer"
    authorizer: Authorizer
    user: UserInfo
    asked: Attributes = NOTHING_YET

    def narrowed(self, **values: str) -> "Check":
        """The question with more said."""
        return replace(self, asked=self.asked._replace(**values))

    def decided(self, verb: str) -> "Decision":
        """The answer."""
        return Decision(self.authorizer.allows(self.user, self.asked._replace(verb=verb)))

    def of_account(self, namespace: str, name: str) -> "Check":
        """The question about a service account."""
        groups = (ACCOUNTS, f"{ACCOUNTS}:{namespace}", "system:authenticated")
        return replace(self, user=UserInfo(account_name(namespace, name), groups))


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether somebody may."""

    cel_name: ClassVar[str] = "kubernetes.authorization.Decision"
    allowed: bool


def _narrow(name: str) -> Callable[[Check, str], Check]:
    return lambda check, value: check.narrowed(**{name: value})


_CHECK, _DECISION = Check.cel_name, Decision.cel_name
AUTHORIZER: Sequence[Overload] = (
    *(
        member(name, f"{_CHECK}, string -> {_CHECK}", _narrow(name))
        for name in ("path", "group", "resource", "subresource", "namespace", "name")
    ),
    member("serviceAccount", f"{_CHECK}, string, string -> {_CHECK}", Check.of_account),
    member("check", f"{_CHECK}, string -> {_DECISION}", Check.decided),
    member("allowed", f"{_DECISION} -> bool", lambda decision: decision.allowed),
    function("jsonpatch_escapeKey", "string -> string", lambda text: text.replace("~", "~0").replace("/", "~1")),
    member("reason", f"{_DECISION} -> string", lambda _: ""),
    member("errored", f"{_DECISION} -> bool", lambda _: False),
    member("error", f"{_DECISION} -> string", lambda _: ""),
)


@cache
def _functions() -> Mapping[tuple[str, bool], Sequence[Overload]]:
    return library(AUTHORIZER)


@cache
def compile_condition(text: str, result: cel.Type = cel.BOOL) -> cel.Program:
    """An expression about a write. Raises CompilationError."""
    variables = {**VARIABLES, "authorizer": Type(_CHECK), REQUEST_RESOURCE: Type(_CHECK)}
    return cel.compile_expression(
        text.replace("authorizer.requestResource", REQUEST_RESOURCE).replace("jsonpatch.escapeKey(", ESCAPE_KEY),
        variables,
        result,
        _functions(),
    )


class Variables:
    """What expressions about one write see."""

    def __init__(self, asked: Asked, namespace: Mapping[str, Any] | None, authorizer: Authorizer) -> None:
        target = asked.resource
        check = Check(authorizer, asked.user)
        self.values: dict[str, Any] = {
            "object": asked.obj,
            "oldObject": asked.old,
            "request": asked.request(""),
            "namespaceObject": namespace,
            "params": None,
            "variables": {},
            "authorizer": check,
            REQUEST_RESOURCE: check.narrowed(
                group=target.group,
                resource=target.plural,
                subresource=asked.subresource,
                namespace=asked.namespace,
                name=asked.name,
            ),
        }

    def evaluate(self, text: str, result: cel.Type = cel.BOOL, **more: Any) -> Any:
        """The value of an expression. Raises CELError."""
        return compile_condition(text, result).evaluate({**self.values, **more})


def all_hold(holder: Mapping[str, Any], variables: Variables) -> bool:
    """Whether all ``matchConditions`` hold; one that is plainly false decides, though others fail. Raises CELError."""
    failure: cel.EvaluationError | None = None
    for condition in holder.get("matchConditions") or NO_ITEMS:
        try:
            if variables.evaluate(condition["expression"]) is not True:
                return False
        except cel.EvaluationError as error:
            failure = failure or cel.EvaluationError(f'evaluation of matchCondition "{condition["name"]}": {error}')
    if failure is not None:
        raise failure
    return True
