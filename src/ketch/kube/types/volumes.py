"""core/v1: where a pod's volumes come from."""

from collections.abc import Mapping
from typing import Any

from msgspec import field

from ketch.kube.codec import KubeStruct
from ketch.kube.meta import NO_LABELS, ObjectMeta
from ketch.kube.quantities import Quantity
from ketch.kube.types.containers import (
    NOTHING,
    ObjectFieldSelector,
    ResourceFieldSelector,
    ResourceRequirements,
)


class KeyToPath(KubeStruct, frozen=True, kw_only=True):
    """One key of a ConfigMap or Secret as a file below the volume."""

    key: str
    path: str
    mode: int | None = None


class EmptyDirVolume(KubeStruct, frozen=True, kw_only=True):
    """A directory that lives as long as the pod; ``medium`` "Memory" makes it a tmpfs."""

    medium: str = ""
    size_limit: Quantity | None = None


class ConfigMapVolume(KubeStruct, frozen=True, kw_only=True):
    """A ConfigMap's keys as files (alone or as a projected source)."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None
    optional: bool | None = None


class SecretVolume(KubeStruct, frozen=True, kw_only=True):
    """A Secret's keys as files."""

    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None
    optional: bool | None = None


class SecretProjection(KubeStruct, frozen=True, kw_only=True):
    """A Secret as one source of a projected volume."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool | None = None


class DownwardAPIFile(KubeStruct, frozen=True, kw_only=True):
    """A fact about the pod as a file."""

    path: str
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardAPIVolume(KubeStruct, frozen=True, kw_only=True):
    """Facts about the pod as files (alone or as a projected source)."""

    items: tuple[DownwardAPIFile, ...] = ()
    default_mode: int | None = None


class ServiceAccountTokenProjection(KubeStruct, frozen=True, kw_only=True):
    """A token of the pod's service account, renewed before it expires."""

    path: str
    audience: str = ""
    expiration_seconds: int | None = None


class VolumeProjection(KubeStruct, frozen=True, kw_only=True):
    """One source of a projected volume: exactly one is set."""

    config_map: ConfigMapVolume | None = None
    secret: SecretProjection | None = None
    downward_api: DownwardAPIVolume | None = field(default=None, name="downwardAPI")
    service_account_token: ServiceAccountTokenProjection | None = None


class ProjectedVolume(KubeStruct, frozen=True, kw_only=True):
    """Several sources in one directory."""

    sources: tuple[VolumeProjection, ...] = ()
    default_mode: int | None = None


class HostPathVolume(KubeStruct, frozen=True, kw_only=True):
    """A path of the node."""

    path: str
    type: str | None = None


class ClaimVolume(KubeStruct, frozen=True, kw_only=True):
    """The volume bound to a PersistentVolumeClaim of the namespace."""

    claim_name: str
    read_only: bool = False


class InlineCSIVolume(KubeStruct, frozen=True, kw_only=True):
    """A volume made by a driver for this pod."""

    driver: str
    read_only: bool | None = None
    fs_type: str | None = None
    volume_attributes: Mapping[str, str] = NO_LABELS


class ClaimSpec(KubeStruct, frozen=True, kw_only=True):
    """What a PersistentVolumeClaim asks for: so much as ``resources.requests["storage"]``.

    ``storage_class_name`` "" is "no class", None is "the default class".
    """

    access_modes: tuple[str, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    volume_name: str = ""
    storage_class_name: str | None = None
    volume_mode: str | None = None
    selector: Mapping[str, Any] = NOTHING


class ClaimTemplate(KubeStruct, frozen=True, kw_only=True):
    """A claim to make for this pod."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ClaimSpec = ClaimSpec()


class EphemeralVolume(KubeStruct, frozen=True, kw_only=True):
    """A claim that lives as long as the pod."""

    volume_claim_template: ClaimTemplate | None = None


class Volume(KubeStruct, frozen=True, kw_only=True):
    """A named volume of a pod: one source is set; sources not listed here stay in ``unknown_fields``."""

    name: str
    empty_dir: EmptyDirVolume | None = None
    config_map: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    projected: ProjectedVolume | None = None
    downward_api: DownwardAPIVolume | None = field(default=None, name="downwardAPI")
    host_path: HostPathVolume | None = None
    persistent_volume_claim: ClaimVolume | None = None
    csi: InlineCSIVolume | None = None
    ephemeral: EphemeralVolume | None = None
