"""Changing objects by patches, and who owns which field.

Law: pure functions over JSON that never change their arguments; results may share unchanged parts with them.
Sources: RFC 6902, RFC 7386, Kubernetes' strategic merge patch and server-side apply (structured-merge-diff, FieldsV1).
"""

from collections.abc import Mapping
from typing import Any

from ketch.kube.transport import JSON_PATCH, MERGE_PATCH
from ketch.local.apiserver.patches.apply import apply
from ketch.local.apiserver.patches.jsonpatch import json_patch
from ketch.local.apiserver.patches.merge import merge_patch
from ketch.local.apiserver.patches.ownership import Manager, same_ownership, take_ownership
from ketch.local.apiserver.patches.strategic import strategic_merge_patch
from ketch.local.apiserver.schemas import Schema

__all__ = ["Manager", "apply", "patched", "same_ownership", "take_ownership"]


def patched(content_type: str, obj: Mapping[str, Any], patch: Any, schema: Schema) -> dict[str, Any]:
    """``obj`` changed by ``patch`` of that content type. Raises BadRequest, Invalid."""
    if content_type == JSON_PATCH:
        return json_patch(obj, patch)
    if content_type == MERGE_PATCH:
        return merge_patch(obj, patch)
    return strategic_merge_patch(obj, patch, schema.node)
