"""Who sends a request: by client certificate, bearer token, or nobody; and for whom they ask."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from ketch.kube.errors import BadRequest, Unauthorized
from ketch.local.apiserver.absent import NO_ITEMS
from ketch.local.apiserver.auth.identity import ANONYMOUS, AUTHENTICATED, MASTERS, UNAUTHENTICATED, UserInfo
from ketch.local.apiserver.auth.rbac import Attributes, Authorizer
from ketch.local.apiserver.auth.tokens import ACCOUNTS, TokenError, Tokens
from ketch.local.apiserver.router import forbidden

AUTHENTICATION = "authentication.k8s.io"
EXTRA = "impersonate-extra-"
ACCOUNT_PREFIX = "system:serviceaccount:"


def certificate_user(certificate: Mapping[str, Any] | None) -> UserInfo | None:
    """The user that a verified client certificate names (``SSLObject.getpeercert``), None without one."""
    if not certificate:
        return None
    pairs: list[tuple[str, str]] = [pair for names in certificate.get("subject", NO_ITEMS) for pair in names]
    name = next((value for key, value in pairs if key == "commonName"), "")
    groups = [value for key, value in pairs if key == "organizationName"]
    return UserInfo(name, (*groups, AUTHENTICATED)) if name else None


class Authenticator:
    """Finds the user of a request, and lets the mighty ask as somebody else."""

    def __init__(self, tokens: Tokens, authorizer: Authorizer) -> None:
        self._tokens = tokens
        self._authorizer = authorizer

    def user(self, headers: Mapping[str, str], peer: UserInfo | None) -> UserInfo:
        """Who asks. Raises Unauthorized for credentials that are not good, Forbidden for an impersonation."""
        user = peer or self._bearer(headers)
        if "impersonate-user" in headers:
            return self._impersonated(user, headers)
        if "impersonate-group" in headers or "impersonate-uid" in headers:
            raise BadRequest("requested groups or a uid to impersonate without impersonating a user")
        return user

    def _bearer(self, headers: Mapping[str, str]) -> UserInfo:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if not scheme:
            return ANONYMOUS
        if scheme.lower() != "bearer":
            raise Unauthorized("Unauthorized")
        try:
            return self._tokens.authenticate(token.strip())
        except TokenError as error:
            raise Unauthorized(f"Unauthorized: {error}") from error

    def _impersonated(self, user: UserInfo, headers: Mapping[str, str]) -> UserInfo:
        name = headers["impersonate-user"]
        groups: Sequence[str] = [item for item in headers.get("impersonate-group", "").split("\n") if item]
        given = ((key, text) for key, text in headers.items() if key.startswith(EXTRA))
        extra = {unquote(key.removeprefix(EXTRA)): tuple(text.split("\n")) for key, text in given}
        asked = [self._attributes(name), *(Attributes("impersonate", resource="groups", name=item) for item in groups)]
        if uid := headers.get("impersonate-uid", ""):
            asked.append(Attributes("impersonate", AUTHENTICATION, "uids", name=uid))
        for key, values in extra.items():
            asked += [Attributes("impersonate", AUTHENTICATION, "userextras", key, name=value) for value in values]
        for attributes in asked:
            if MASTERS not in user.groups and not self._authorizer.allows(user, attributes):
                raise forbidden(user, attributes)
        if not groups and name.startswith(ACCOUNT_PREFIX):
            namespace = name.removeprefix(ACCOUNT_PREFIX).partition(":")[0]
            groups = [ACCOUNTS, f"{ACCOUNTS}:{namespace}"]
        known = UNAUTHENTICATED if name == ANONYMOUS.name else AUTHENTICATED
        return UserInfo(name, tuple(dict.fromkeys((*groups, known))), uid, extra)

    def _attributes(self, name: str) -> Attributes:
        if not name.startswith(ACCOUNT_PREFIX):
            return Attributes("impersonate", resource="users", name=name)
        namespace, _, account = name.removeprefix(ACCOUNT_PREFIX).partition(":")
        return Attributes("impersonate", resource="serviceaccounts", namespace=namespace, name=account)
