"""The ConfigMap ``kfp-launcher`` as upstream has it: the default root, and how each provider is reached. Pure.

::

    defaultPipelineRoot: s3://bucket/prefix
    providers: |
      s3:                                  # or minio, gs, azure
        default: {endpoint: ..., region: ..., disableSSL: true, forcePathStyle: true, maxRetries: 5,
                  credentials: {fromEnv: false, secretRef: {secretName: ..., accessKeyKey: ..., secretKeyKey: ...}}}
        overrides: [{bucketName: ..., keyPrefix: ..., endpoint: ..., credentials: ...}]
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import yaml

from ketch.metadata.objects import StoreError
from ketch.metadata.stores.table import SCHEMES, Connection, Kind, Place
from ketch.pipelines.transfer.sources import SecretKey, Source

CONFIG_MAP: Final = "kfp-launcher"
ROOT_KEY: Final = "defaultPipelineRoot"
PROVIDERS_KEY: Final = "providers"

_SCHEMES: Final[Mapping[str, str]] = {"s3": "s3", "minio": "minio", "gs": "gs", "azure": "az"}
_CREDENTIALS: Final[Mapping[Kind, Mapping[str, str]]] = {
    Kind.S3: {"access_key": "access_key_key", "secret_key": "secret_key_key"},
    Kind.GCS: {"token": "token_key"},
    Kind.AZURE: {"account_key": "account_key_key", "sas_token": "sas_token_key"},
}
_NAMES: Final = {
    "access_key_key": "accessKeyKey",
    "secret_key_key": "secretKeyKey",
    "token_key": "tokenKey",
    "account_key_key": "accountKeyKey",
    "sas_token_key": "sasTokenKey",
}


class ConfigurationProblem(StoreError):
    """What is configured of stores cannot be used; the message names the object and the field."""


class _SecretRef(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    secret_name: str
    access_key_key: str = ""
    secret_key_key: str = ""
    token_key: str = ""
    account_key_key: str = ""
    sas_token_key: str = ""


class _Credentials(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    from_env: bool = False
    secret_ref: _SecretRef | None = None


class _Settings(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    endpoint: str = ""
    region: str = ""
    account_name: str = ""
    disable_ssl: bool = msgspec.field(default=False, name="disableSSL")
    force_path_style: bool | None = None
    max_retries: int | None = None
    credentials: _Credentials = _Credentials()


class _Override(_Settings, frozen=True, rename="camel", forbid_unknown_fields=True):
    bucket_name: str = ""
    key_prefix: str = ""


class _Provider(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    default: _Settings | None = None
    overrides: Sequence[_Override] = ()


class Configuration(msgspec.Struct, frozen=True):
    """The root for runs that name none ("" leaves it open), and the stores, first match wins."""

    root: str = ""
    sources: tuple[Source, ...] = ()


def read_configuration(data: Mapping[str, str]) -> Configuration:
    """The ConfigMap's data, understood. Raises ConfigurationProblem."""
    root = data.get(ROOT_KEY, "").strip().rstrip("/")
    if root and root.partition("://")[0] not in SCHEMES:
        expected = "://, ".join(SCHEMES)
        raise ConfigurationProblem(f"ConfigMap {CONFIG_MAP}: {ROOT_KEY}: expected {expected}://, not {root!r}")
    return Configuration(root, tuple(_sources(data.get(PROVIDERS_KEY, ""))))


def _sources(text: str) -> Iterator[Source]:
    where = f"ConfigMap {CONFIG_MAP}: {PROVIDERS_KEY}"
    try:
        document: Any = yaml.safe_load(text) or {}
        if isinstance(document, dict):
            document = {name: _spelled(settings) for name, settings in document.items()}  # pyright: ignore[reportUnknownVariableType]  # YAML from outside
        providers = msgspec.convert(document, dict[str, _Provider])
    except yaml.YAMLError as error:
        raise ConfigurationProblem(f"{where} is no YAML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigurationProblem(f"{where}: {error}") from error
    for name, provider in providers.items():
        if name not in _SCHEMES:
            raise ConfigurationProblem(f"{where}: unknown provider {name!r}: expected {', '.join(_SCHEMES)}")
        for number, override in enumerate(provider.overrides):
            place = f"{where}: {name}.overrides[{number}]"
            if not override.bucket_name:
                raise ConfigurationProblem(f"{place}: bucketName is missing")
            yield _source(_SCHEMES[name], override, place, override.bucket_name, override.key_prefix)
        if provider.default is not None:
            yield _source(_SCHEMES[name], provider.default, f"{where}: {name}.default")


def _spelled(settings: Any) -> Any:
    """Upstream reads ``Overrides`` and ``overrides`` alike."""
    if not isinstance(settings, dict):
        return settings
    return {"overrides" if name == "Overrides" else name: value for name, value in settings.items()}  # pyright: ignore[reportUnknownVariableType]  # YAML from outside


def _source(scheme: str, settings: _Settings, where: str, bucket: str = "", prefix: str = "") -> Source:
    kind = SCHEMES[scheme]
    style = settings.force_path_style
    connection = Connection(
        kind=kind,
        endpoint=settings.endpoint,
        region=settings.region,
        account=settings.account_name,
        plain_http=settings.disable_ssl,
        # What is not Amazon's own has no names for buckets unless somebody says so.
        path_style=bool(settings.endpoint) and "amazonaws.com" not in settings.endpoint if style is None else style,
        max_retries=settings.max_retries,
    )
    place = Place(scheme=scheme, bucket=bucket, prefix=prefix, connection=connection)
    return Source(place, _secrets(kind, settings.credentials, f"{where}.credentials"))


def _secrets(kind: Kind, credentials: _Credentials, where: str) -> Mapping[str, SecretKey]:
    ref = credentials.secret_ref
    if credentials.from_env:
        return {}
    if ref is None:
        raise ConfigurationProblem(f"{where}: set fromEnv: true or a secretRef")
    wanted = _CREDENTIALS[kind]
    given = {name: getattr(ref, field) for name, field in wanted.items() if getattr(ref, field)}
    missing = [field for name, field in wanted.items() if name not in given]
    if missing and (kind is not Kind.AZURE or not given):
        keys = (" or " if kind is Kind.AZURE else ", ").join(_NAMES[field] for field in missing)
        raise ConfigurationProblem(f"{where}.secretRef: {keys} is missing")
    return {name: SecretKey(ref.secret_name, key) for name, key in given.items()}
