"""storage.k8s.io/v1: StorageClass."""

from collections.abc import Mapping
from typing import ClassVar

from ketch.kube.meta import NO_LABELS, KubeObject, Resource

DEFAULT_CLASS_ANNOTATION = "storageclass.kubernetes.io/is-default-class"


class StorageClass(KubeObject, frozen=True, kw_only=True):
    """How volumes are made for claims."""

    resource: ClassVar = Resource("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False)

    provisioner: str = ""
    parameters: Mapping[str, str] = NO_LABELS
    reclaim_policy: str | None = None
    volume_binding_mode: str | None = None
    allow_volume_expansion: bool | None = None
    mount_options: tuple[str, ...] = ()
