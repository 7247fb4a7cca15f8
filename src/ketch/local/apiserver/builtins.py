"""The built-in resources as they are served."""

from collections.abc import Iterator

from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.schemas import schema_for
from ketch.local.apiserver.schemas.builtin import builtin_kinds


def builtin_resources() -> Iterator[ServedResource]:
    """Every built-in resource."""
    for info in builtin_kinds():
        api_version = f"{info.group}/{info.version}" if info.group else info.version
        yield ServedResource(
            group=info.group,
            version=info.version,
            kind=info.kind,
            plural=info.plural,
            singular=info.singular,
            namespaced=info.namespaced,
            schema=schema_for(info.group, info.version, info.kind),
            storage=info.storage or f"{info.group}/{info.plural}",
            stored_api_version=info.stored_version or api_version,
            short_names=info.short_names,
            categories=info.categories,
            verbs=info.verbs,
            has_status=info.has_status,
            has_scale=info.has_scale,
        )
