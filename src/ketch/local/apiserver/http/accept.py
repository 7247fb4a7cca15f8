"""What a client wants to read: the Accept header as one of a few forms."""

from functools import lru_cache
from typing import NamedTuple

from ketch.kube.errors import APIError

JSON = "application/json"
YAML = "application/yaml"
PLAIN, TABLE, PARTIAL, DISCOVERY = "", "Table", "PartialObjectMetadata", "APIGroupDiscoveryList"
_KNOWN = {
    ("meta.k8s.io", "v1", "Table"): TABLE,
    ("meta.k8s.io", "v1", "PartialObjectMetadata"): PARTIAL,
    ("meta.k8s.io", "v1", "PartialObjectMetadataList"): PARTIAL,
    ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList"): DISCOVERY,
}


class Form(NamedTuple):
    """A media type and what objects are shown as; ``any`` when the client takes whatever comes."""

    media_type: str = JSON
    shape: str = PLAIN
    any: bool = False


class NotAcceptable(APIError):
    """406: the client reads nothing that the server writes."""

    code = 406
    reason = "NotAcceptable"


@lru_cache(maxsize=512)
def negotiate(header: str) -> Form | None:
    """The first form in the header that is served, None when there is none."""
    if not header:
        return Form(any=True)
    for item in header.split(","):
        media_type, *parameters = (part.strip() for part in item.split(";"))
        if media_type in ("*/*", "application/*"):
            return Form(any=media_type == "*/*")
        if media_type not in (JSON, YAML):
            continue
        values: dict[str, str] = {}
        for part in parameters:
            key, _, value = part.partition("=")
            values[key] = value
        if "as" not in values:
            return Form(media_type)
        shape = _KNOWN.get((values.get("g", ""), values.get("v", ""), values["as"]))
        if shape is not None and media_type == JSON:
            return Form(media_type, shape)
    return None


def not_acceptable() -> NotAcceptable:
    """The error for a client that takes none of the forms."""
    return NotAcceptable(f"only the following media types are accepted: {JSON}, {YAML}")
