"""Which URI lies in which store: places by scheme, bucket and key prefix, first match wins. Pure values."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from ketch.metadata.objects import KeyOutside


class Kind(StrEnum):
    """What a store speaks."""

    S3 = "s3"
    GCS = "gcs"
    AZURE = "azure"


SCHEMES: Final[Mapping[str, Kind]] = {"s3": Kind.S3, "minio": Kind.S3, "gs": Kind.GCS, "az": Kind.AZURE}
"""The schemes of URIs, and what their stores speak."""


class Connection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a store is reached. ``path_style`` puts the bucket into the path and not into the host's name."""

    kind: Kind
    endpoint: str = ""
    region: str = ""
    account: str = ""
    plain_http: bool = False
    path_style: bool = False
    max_retries: int | None = None


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of the world of URIs, and its store. An empty ``bucket`` stands for all of the scheme's.

    ``credentials`` are values by the name of what they are (``access_key``, ...); empty ones leave it to the
    environment of whoever connects. In a table for another process they are names of variables instead.
    """

    scheme: str
    bucket: str = ""
    prefix: str = ""
    connection: Connection
    credentials: Mapping[str, str] = {}

    def holds(self, scheme: str, bucket: str, key: str) -> bool:
        """Whether the URI of these parts lies here."""
        if scheme != self.scheme or self.bucket not in ("", bucket):
            return False
        prefix = self.prefix.strip("/")
        return not prefix or key == prefix or key.startswith(f"{prefix}/")


Table = Sequence[Place]


def split(uri: str) -> tuple[str, str, str]:
    """Scheme, bucket and key of a URI of one of ``SCHEMES``. Raises KeyOutside."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme not in SCHEMES:
        raise KeyOutside(f"{uri!r} is in no object store: expected {'://, '.join(SCHEMES)}://")
    bucket, _, key = rest.partition("?")[0].strip("/").partition("/")
    parts = (bucket, *key.split("/")) if key else (bucket,)
    if "\0" in rest or any(part in ("", ".", "..") for part in parts):
        raise KeyOutside(f"{uri!r}: expected <bucket>/<path> without empty, '.' or '..' parts")
    return scheme, bucket, key


def place_of(table: Table, uri: str) -> Place | None:
    """The place of the URI; None when it is in none of the table."""
    try:
        scheme, bucket, key = split(uri)
    except KeyOutside:
        return None
    return next((place for place in table if place.holds(scheme, bucket, key)), None)
