"""What the process that pulls is asked, and its answer: apart from it, for those who only ask."""

from collections.abc import Sequence

import msgspec

from ketch.local.images.oci.credentials import Credentials

FOLDER = "images"
"""Where images are below the data directory."""


class Request(msgspec.Struct, frozen=True):
    """What to pull."""

    image: str
    credentials: Sequence[Credentials] = ()


class Answer(msgspec.Struct, frozen=True):
    """How it went: well, when ``error`` is empty."""

    error: str = ""
