"""Service accounts' tokens: signed JWTs (ES256) bound to objects that must still exist."""

import base64
import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from ketch.kube.clock import Clock
from ketch.local.apiserver.absent import NO_ITEMS
from ketch.local.apiserver.auth.identity import AUTHENTICATED, UserInfo

ISSUER = "https://kubernetes.default.svc.cluster.local"
DEFAULT_SECONDS = 3600
SHORTEST_SECONDS = 600
LONGEST_SECONDS = 365 * 24 * 3600
ACCOUNTS = "system:serviceaccounts"
HALF = 32
"""Bytes of each half of a P-256 signature in a JWS."""

Lookup = Callable[[str, str, str], Mapping[str, Any] | None]


DISCOVERY = {
    "issuer": ISSUER,
    "jwks_uri": f"{ISSUER}/openid/v1/jwks",
    "response_types_supported": ["id_token"],
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["ES256"],
}
"""What OpenID clients read to check tokens by themselves."""


class TokenError(Exception):
    """The token is not good; the message says why."""


def account_name(namespace: str, name: str) -> str:
    """A service account's user name."""
    return f"system:serviceaccount:{namespace}:{name}"


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Tokens:
    """Signs and checks tokens with the key in ``key_path``; ``lookup(storage, namespace, name)`` finds live objects."""

    def __init__(self, key_path: Path, clock: Clock, lookup: Lookup) -> None:
        self._key_path = key_path
        self._clock = clock
        self._lookup = lookup
        self._verified: dict[str, Mapping[str, Any]] = {}

    @cached_property
    def _key(self) -> Any:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  # deferred: 60 ms, first token only

        return serialization.load_pem_private_key(self._key_path.read_bytes(), None)

    @cached_property
    def _public(self) -> bytes:
        """The public point of the key: both coordinates."""
        numbers = self._key.public_key().public_numbers()
        return numbers.x.to_bytes(HALF, "big") + numbers.y.to_bytes(HALF, "big")

    @cached_property
    def key_id(self) -> str:
        """The name of the key in tokens and in the published set."""
        return _encoded(hashlib.sha256(self._public).digest())

    def published_keys(self) -> dict[str, Any]:
        """The JSON Web Key Set by which others check tokens."""
        point = {"x": _encoded(self._public[:HALF]), "y": _encoded(self._public[HALF:])}
        key = {"use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256", **point}
        return {"keys": [key]}

    def mint(
        self,
        account: Mapping[str, Any],
        audiences: Sequence[str],
        seconds: int,
        bound: Mapping[str, Mapping[str, str]] | None = None,
    ) -> tuple[str, int]:
        """A token for a ServiceAccount object, and when it expires (Unix seconds).

        ``bound`` is what the token is told of: name and uid by kind, in small letters. It lives with the pod, the
        secret, or, where there is neither, the node.
        """
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: PLC0415  # deferred, see _key
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

        now = int(self._clock.now().timestamp())
        meta = account["metadata"]
        claims: dict[str, Any] = {
            "namespace": meta["namespace"],
            "serviceaccount": {"name": meta["name"], "uid": meta["uid"]},
        }
        claims |= bound or {}
        payload = {
            "jti": str(uuid.uuid4()),
            "aud": list(audiences) or [ISSUER],
            "exp": now + seconds,
            "iat": now,
            "nbf": now,
            "iss": ISSUER,
            "kubernetes.io": claims,
            "sub": account_name(meta["namespace"], meta["name"]),
        }
        header = {"alg": "ES256", "kid": self.key_id, "typ": "JWT"}
        signed = f"{_encoded(orjson.dumps(header))}.{_encoded(orjson.dumps(payload))}"
        left, right = decode_dss_signature(self._key.sign(signed.encode(), ECDSA(SHA256())))
        return f"{signed}.{_encoded(left.to_bytes(HALF, 'big') + right.to_bytes(HALF, 'big'))}", now + seconds

    def _claims(self, token: str) -> Mapping[str, Any]:
        """The claims of a token whose signature is ours. Raises TokenError."""
        known = self._verified.get(token)
        if known is not None:
            return known
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # deferred, see _key
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

        try:
            header, payload, signature = token.split(".")
            raw = _decoded(signature)
            if orjson.loads(_decoded(header)).get("alg") != "ES256" or len(raw) != 2 * HALF:
                raise TokenError("the token is not signed as this server signs")
            halves = int.from_bytes(raw[:HALF], "big"), int.from_bytes(raw[HALF:], "big")
            signed = f"{header}.{payload}".encode()
            self._key.public_key().verify(encode_dss_signature(*halves), signed, ECDSA(SHA256()))
            claims: Mapping[str, Any] = orjson.loads(_decoded(payload))
        except (ValueError, InvalidSignature):
            raise TokenError("the token is not one of this server's") from None
        if len(self._verified) > 4096:
            self._verified.clear()
        self._verified[token] = claims
        return claims

    def authenticate(self, token: str, audiences: Sequence[str] = ()) -> UserInfo:
        """Whose token it is. Raises TokenError when it is forged, expired, or outlived what it is bound to."""
        claims = self._claims(token)
        now = self._clock.now().timestamp()
        if claims.get("iss") != ISSUER or not claims.get("nbf", 0) <= now < claims.get("exp", 0):
            raise TokenError("the token has expired")
        wanted = audiences or (ISSUER,)
        if not set(wanted) & set(claims.get("aud", NO_ITEMS)):
            raise TokenError("the token is for another audience")
        own = claims["kubernetes.io"]
        namespace, account = own["namespace"], own["serviceaccount"]
        self._must_live("/serviceaccounts", namespace, account)
        extra: dict[str, tuple[str, ...]] = {}
        if "jti" in claims:
            extra["authentication.kubernetes.io/credential-id"] = (f"JTI={claims['jti']}",)
        for kind in ("pod", "secret", "node"):
            if kind in own:
                if kind != "node":
                    self._must_live(f"/{kind}s", namespace, own[kind])
                elif "pod" not in own:
                    self._must_live("/nodes", "", own[kind])
                extra[f"authentication.kubernetes.io/{kind}-name"] = (own[kind]["name"],)
                extra[f"authentication.kubernetes.io/{kind}-uid"] = (own[kind]["uid"],)
        groups = (ACCOUNTS, f"{ACCOUNTS}:{namespace}", AUTHENTICATED)
        return UserInfo(account_name(namespace, account["name"]), groups, account["uid"], extra)

    def audiences(self, token: str) -> Sequence[str]:
        """Whom a token is for. Raises TokenError."""
        return self._claims(token).get("aud", NO_ITEMS)

    def _must_live(self, storage: str, namespace: str, wanted: Mapping[str, str]) -> None:
        found = self._lookup(storage, namespace, wanted["name"])
        if found is None or found["metadata"]["uid"] != wanted["uid"]:
            raise TokenError(f"the {storage.strip('/')[:-1]} {namespace}/{wanted['name']} of the token is gone")
