"""Errors of the Kubernetes API, one class per Status reason that callers act on.

::

    APIError                     any Status with status=Failure
    ├── BadRequest          400  the request could not be understood
    ├── Unauthorized        401  no or wrong credentials
    ├── Forbidden           403  credentials do not permit this (also quota, admission)
    ├── NotFound            404
    ├── MethodNotAllowed    405
    ├── AlreadyExists       409  create of a name that is taken
    ├── Conflict            409  resourceVersion or field-manager conflict
    ├── Gone                410  resourceVersion or continue token too old; list again
    ├── TooLarge            413  request body over the limit
    ├── UnsupportedMedia    415
    ├── Invalid             422  the object breaks its schema or rules; ``causes`` name the fields
    ├── TooManyRequests     429
    ├── InternalError       500
    └── Unavailable         503, 504, 507  try again later; 507: once there is room
    TransportError               no Status at all: connection refused, torn, timed out

``details`` and ``causes`` follow metav1.Status. ``status_body()`` renders the wire form.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec


class Cause(msgspec.Struct, frozen=True, omit_defaults=True):
    """One field's trouble: ``reason`` as metav1.CauseType (FieldValueInvalid, ...), ``field`` as a JSON path."""

    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """metav1.StatusDetails: which object, and the causes."""

    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: tuple[Cause, ...] = ()
    retry_after_seconds: int = 0


class APIError(Exception):
    """A failed answer of the API server. ``code`` is the HTTP status, ``reason`` the metav1.StatusReason."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "Unknown"

    def __init__(
        self, message: str, details: StatusDetails | None = None, *, code: int | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or StatusDetails()
        self.http_code = self.code if code is None else code
        self.status_reason = self.reason if reason is None else reason

    @property
    def causes(self) -> Sequence[Cause]:
        """The fields at fault; empty when the Status names none."""
        return self.details.causes

    def status_body(self) -> dict[str, Any]:
        """The metav1.Status object as a JSON-ready dict."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.status_reason,
        }
        details = msgspec.to_builtins(self.details)
        if details or isinstance(self, NotFound):  # kubectl reads the details of every 404
            body["details"] = details
        body["code"] = self.http_code
        return body


class BadRequest(APIError):
    """The request could not be understood; repeating it will not help."""

    code = 400
    reason = "BadRequest"


class Unauthorized(APIError):
    """No credentials, or ones the server does not accept."""

    code = 401
    reason = "Unauthorized"


class Forbidden(APIError):
    """Known who asks; they may not do this (RBAC, admission, quota)."""

    code = 403
    reason = "Forbidden"


class NotFound(APIError):
    """No such object or resource."""

    code = 404
    reason = "NotFound"


class MethodNotAllowed(APIError):
    """The resource does not have this verb."""

    code = 405
    reason = "MethodNotAllowed"


class AlreadyExists(APIError):
    """Create of a name that is taken."""

    code = 409
    reason = "AlreadyExists"


class Conflict(APIError):
    """Someone else wrote first (resourceVersion, uid precondition) or owns the field (server-side apply)."""

    code = 409
    reason = "Conflict"


class Gone(APIError):
    """The resourceVersion or continue token is older than what the server remembers: list again."""

    code = 410
    reason = "Expired"


class TooLarge(APIError):
    """The request body is over the server's limit."""

    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMedia(APIError):
    """The Content-Type is not one this verb takes."""

    code = 415
    reason = "UnsupportedMediaType"


class Invalid(APIError):
    """The object breaks its schema or rules; ``causes`` name the fields."""

    code = 422
    reason = "Invalid"


class TooManyRequests(APIError):
    """Slow down; ``details.retry_after_seconds`` says by how much. Evictions blocked by a budget also end here."""

    code = 429
    reason = "TooManyRequests"


class InternalError(APIError):
    """The server's own fault."""

    code = 500
    reason = "InternalError"


class Unavailable(APIError):
    """Not now: starting, stopping, overloaded, out of disk or timed out. Retrying is right."""

    code = 503
    reason = "ServiceUnavailable"


class TransportError(Exception):
    """The API server gave no answer: refused, reset, timed out before a Status came."""


_BY_REASON: Mapping[str, type[APIError]] = {
    kind.reason: kind
    for kind in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        AlreadyExists,
        Conflict,
        Gone,
        TooLarge,
        UnsupportedMedia,
        Invalid,
        TooManyRequests,
        InternalError,
        Unavailable,
    )
} | {"Gone": Gone, "Timeout": Unavailable, "ServerTimeout": Unavailable}

_BY_CODE: Mapping[int, type[APIError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    415: UnsupportedMedia,
    422: Invalid,
    429: TooManyRequests,
    500: InternalError,
    503: Unavailable,
    504: Unavailable,
    507: Unavailable,
}


def error_from_status(body: Any, http_code: int) -> APIError:
    """The error that a failed answer means. ``body`` is a decoded metav1.Status, or anything else a proxy returned."""
    if not isinstance(body, dict):
        kind = _BY_CODE.get(http_code, APIError)
        return kind(str(body) or f"HTTP {http_code}", code=http_code)
    status: dict[str, Any] = body  # pyright: ignore[reportUnknownVariableType]  # JSON from outside
    reason = str(status.get("reason") or "")
    code = int(status.get("code") or http_code)
    kind = _BY_REASON.get(reason) or _BY_CODE.get(code, APIError)
    details = msgspec.convert(status.get("details") or {}, StatusDetails, strict=False)
    message = str(status.get("message") or f"HTTP {http_code}")
    return kind(message, details, code=code, reason=reason or kind.reason)
