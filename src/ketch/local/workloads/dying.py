"""Creating in a namespace that is being deleted: refused, and no failure, since nothing is wanted there any more."""

from ketch.kube.errors import APIError, Forbidden

CAUSE = "NamespaceTerminating"


def is_dying(error: APIError) -> bool:
    """Whether the write was refused because its namespace is going."""
    return isinstance(error, Forbidden) and any(cause.reason == CAUSE for cause in error.causes)
