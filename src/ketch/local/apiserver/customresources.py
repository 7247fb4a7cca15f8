"""Serving what CustomResourceDefinitions define."""

from collections.abc import Iterator, Mapping
from typing import Any

from ketch.local.apiserver.resources import PrinterColumn, Registry, ServedResource
from ketch.local.apiserver.schemas import compile_schema
from ketch.local.apiserver.store.records import Change
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.writing import CRD_STORAGE


def served_versions(definition: Mapping[str, Any]) -> Iterator[ServedResource]:
    """The resources that a definition asks for, in priority of their versions as written."""
    spec = definition["spec"]
    names, group = spec["names"], spec["group"]
    stored = next(version["name"] for version in spec["versions"] if version.get("storage"))
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        subresources = version.get("subresources") or {}
        columns = [
            PrinterColumn(
                item["name"],
                item["type"],
                item["jsonPath"],
                item.get("format", ""),
                item.get("description", ""),
                item.get("priority", 0),
            )
            for item in version.get("additionalPrinterColumns") or ()
        ]
        yield ServedResource(
            group=group,
            version=version["name"],
            kind=names["kind"],
            plural=names["plural"],
            singular=names.get("singular") or names["kind"].lower(),
            namespaced=spec["scope"] == "Namespaced",
            schema=compile_schema((version.get("schema") or {}).get("openAPIV3Schema")),
            storage=f"{group}/{names['plural']}",
            stored_api_version=f"{group}/{stored}",
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            has_status="status" in subresources,
            has_scale="scale" in subresources,
            scale_paths=subresources.get("scale") or {},
            columns=tuple(columns),
            selectable_fields=tuple(item["jsonPath"].lstrip(".") for item in version.get("selectableFields") or ()),
            custom=True,
            deprecation=version.get("deprecationWarning", "") if version.get("deprecated") else "",
        )


class CustomResources:
    """Keeps the registry true to the definitions in the store."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._registry = registry
        for record in store.list(CRD_STORAGE):
            self._install(record.value)
        store.observe(CRD_STORAGE, self._changed)

    def _install(self, definition: Mapping[str, Any]) -> None:
        spec = definition["spec"]
        self._registry.install(spec["group"], spec["names"]["plural"], served_versions(definition))

    def _changed(self, change: Change) -> None:
        """Called in the turn in which the definition's write is answered: who created it may use it at once."""
        value = change.record.value
        if change.deleted:
            self._registry.remove(value["spec"]["group"], value["spec"]["names"]["plural"])
        elif change.previous is None or change.previous.value["spec"] != value["spec"]:
            self._install(value)
