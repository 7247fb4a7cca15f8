"""From a place to an open bucket, and from the client library's errors to ours."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, cast

import obstore.exceptions as wrong
from obstore.store import AzureStore, GCSStore, S3Store

from ketch.metadata.objects import AccessDenied, StoreError, StoreUnreachable
from ketch.metadata.stores.table import Connection, Kind, Place

Bucket = S3Store | GCSStore | AzureStore

DEFAULT_REGION: Final = "us-east-1"
MAX_RETRIES: Final = 1000
"""How often, when nobody says otherwise: patience runs out first."""

_CONNECT: Final = timedelta(seconds=5)
_READ: Final = timedelta(seconds=60)
_WHOLE: Final = timedelta(hours=6)
"""A single request may carry a large object; what stalls ends by ``_READ``."""

_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(milliseconds=100), timedelta(seconds=5)
_S3_NAMES = {"access_key": "access_key_id", "secret_key": "secret_access_key", "session_token": "session_token"}
_GCS_NAMES = {"token": "service_account_key"}
_AZURE_NAMES = {"account": "account_name", "account_key": "account_key", "sas_token": "sas_key"}
_LONGEST_WORDS: Final = 600
_SIGNS_OF_ABSENCE = ("error sending request", " retries, ")
"""How the client library tells that it got no answer, or none but failures however often it asked."""

CREDENTIALS: Final[Mapping[Kind, Mapping[str, str]]] = {
    Kind.S3: _S3_NAMES,
    Kind.GCS: _GCS_NAMES,
    Kind.AZURE: _AZURE_NAMES,
}
"""What each kind's credentials are called, here and in the client library."""


def open_bucket(place: Place, bucket: str, patience: timedelta, proxy: str = "") -> Bucket:
    """The bucket, not yet spoken to. ``patience`` bounds how long one request is tried again. Raises StoreError."""
    connection = place.connection
    options: dict[str, Any] = {
        "allow_http": connection.plain_http or connection.endpoint.startswith("http://"),
        "connect_timeout": _CONNECT,
        "read_timeout": _READ,
        "timeout": _WHOLE,
    }
    if proxy:
        options["proxy_url"] = proxy
    retries: Any = {
        "max_retries": MAX_RETRIES if connection.max_retries is None else connection.max_retries,
        "retry_timeout": patience,
        "backoff": {"init_backoff": _FIRST_PAUSE, "max_backoff": _LONGEST_PAUSE, "base": 2},
    }
    names = CREDENTIALS[connection.kind]
    settings: dict[str, Any] = {names[name]: value for name, value in place.credentials.items() if name in names}
    try:
        match connection.kind:
            case Kind.S3:
                settings |= _s3_settings(connection)
                return S3Store(bucket, client_options=cast("Any", options), retry_config=retries, **settings)
            case Kind.GCS:
                if connection.endpoint:
                    settings["base_url"] = address(connection)
                return GCSStore(bucket, client_options=cast("Any", options), retry_config=retries, **settings)
            case Kind.AZURE:
                if connection.account:
                    settings["account_name"] = connection.account
                if connection.endpoint:
                    settings["endpoint"] = address(connection)
                return AzureStore(bucket, client_options=cast("Any", options), retry_config=retries, **settings)
    except (wrong.BaseError, ValueError) as error:
        raise StoreError(f"the {place.scheme} store of bucket {bucket} cannot be set up: {_brief(error)}") from error


def _s3_settings(connection: Connection) -> Mapping[str, Any]:
    settings: dict[str, Any] = {
        "region": connection.region or DEFAULT_REGION,
        "virtual_hosted_style_request": not connection.path_style,
    }
    if connection.endpoint:
        settings["endpoint"] = address(connection)
    return settings


def address(connection: Connection) -> str:
    """The endpoint as a URL; without a scheme, ``plain_http`` decides."""
    if "://" in connection.endpoint:
        return connection.endpoint
    return f"{'http' if connection.plain_http else 'https'}://{connection.endpoint}"


@contextmanager
def translated(doing: str, uri: str) -> Generator[None]:
    """The library's errors as ours, naming what was done and where; a missing object stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (wrong.PermissionDeniedError, wrong.UnauthenticatedError) as error:
        raise AccessDenied(f"{doing} {uri}: access denied: {_brief(error)}") from error
    except wrong.BaseError as error:
        words = _brief(error)
        if "NoSuchBucket" in words:
            raise StoreError(f"{doing} {uri}: there is no bucket of that name") from error
        kind = StoreUnreachable if any(sign in words for sign in _SIGNS_OF_ABSENCE) else StoreError
        raise kind(f"{doing} {uri}: {words}") from error


def _brief(error: Exception) -> str:
    """The library's own words, without the dump of its insides."""
    return " ".join(str(error).partition("\n\nDebug source:")[0].split())[:_LONGEST_WORDS]
