"""What can go wrong between the node and its containers.

SandboxError
├── SandboxUnavailable     the keeper zygote does not answer: try again, it is being restarted
├── StartError             the container cannot start as it is specified; ``exit_code`` is what a shell would say
├── Unwarmed               no warm interpreter became the container, and nothing is left of it
├── AlreadyStarted         the directory holds a container already: adopt it
├── NotStarted             the directory holds no started container
├── NotRunning             the container has ended
├── NotConnected           nobody listens on the port
└── ExecTimeout            the command took longer than it may; it was killed
"""

from collections.abc import Mapping
from typing import Any


class SandboxError(Exception):
    """The container, or the command in it, cannot run; the message is a sentence for the user."""


class SandboxUnavailable(SandboxError):
    """The keeper zygote does not answer."""


class StartError(SandboxError):
    """The container cannot start as it is specified."""

    def __init__(self, message: str, exit_code: int = 128) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Unwarmed(SandboxError):
    """The container did not come from its warm interpreter; it may start as any other."""


class AlreadyStarted(SandboxError):
    """The directory holds a container already."""


class NotStarted(SandboxError):
    """The directory holds no container that was started."""


class NotRunning(SandboxError):
    """The container has ended."""


class NotConnected(SandboxError):
    """The container has no such port, or nobody listens on it."""


class ExecTimeout(SandboxError):
    """The command took longer than it may and was killed."""


def from_answer(answer: Mapping[str, Any]) -> SandboxError:
    """The error that the keeper's answer names."""
    if answer["error"] == StartError.__name__:
        return StartError(answer["message"], answer["exit_code"])
    kinds = {kind.__name__: kind for kind in (AlreadyStarted, NotStarted, NotRunning, Unwarmed, NotConnected)}
    return kinds[answer["error"]](answer["message"])
