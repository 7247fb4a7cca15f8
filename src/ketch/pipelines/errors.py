"""What can be wrong with a request, by gRPC's codes, which are KFP's vocabulary.

::

    RequestError               a request that cannot be done; the message is for the person who made it
    ├── InvalidInput        3  the request itself is wrong; repeating it will not help
    ├── NotFound            5  no such run, experiment, pipeline, version
    ├── AlreadyExists       6  the name is taken
    ├── PermissionDenied    7  whoever asks may not
    ├── FailedPrecondition  9  not in this state
    └── Unavailable        14  what is needed for the answer cannot be reached now
"""

from typing import ClassVar


class RequestError(Exception):
    """A request that cannot be done. ``code`` is the gRPC code."""

    code: ClassVar[int] = 13

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(RequestError):
    """The request is wrong; the message names the field."""

    code = 3


class NotFound(RequestError):
    """What the request names does not exist."""

    code = 5


class AlreadyExists(RequestError):
    """The name is taken."""

    code = 6


class PermissionDenied(RequestError):
    """Whoever asks may not."""

    code = 7


class FailedPrecondition(RequestError):
    """Right in itself, but not in the state that the thing is in."""

    code = 9


class Unavailable(RequestError):
    """What is needed for the answer cannot be reached now."""

    code = 14
