"""How to reach a cluster: kubeconfig files and service accounts, understood once into a ``ClusterConfig``.

lightkube reads contexts, clusters, users and service accounts; what its models leave out (``tls-server-name``,
``proxy-url``, exec plugins in full, several files in KUBECONFIG) is read here. It is imported when first needed.
"""

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

if TYPE_CHECKING:
    from lightkube.config.kubeconfig import SingleConfig
    from lightkube.config.models import User

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_FILE = "~/.kube/config"
KUBECONFIG = "KUBECONFIG"
_LISTS = ("clusters", "users", "contexts")
_PATHS = {"certificate-authority", "client-certificate", "client-key", "tokenFile"}


class ConfigError(Exception):
    """There is no usable configuration; the message says what is missing where."""


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A program that prints credentials (client.authentication.k8s.io)."""

    api_version: str
    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    provide_cluster_info: bool = False
    install_hint: str = ""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One server and one identity. Certificates and keys are PEM; of token, token_file, exec, basic at most one counts.

    With ``unix_socket`` connections go there, while TLS and the Host header still follow ``server``.
    """

    server: str
    namespace: str = "default"
    authority: str = ""
    insecure: bool = False
    server_name: str = ""
    proxy_url: str = ""
    client_certificate: str = ""
    client_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    basic: tuple[str, str] | None = field(default=None, repr=False)
    exec: ExecPlugin | None = field(default=None, repr=False)
    unix_socket: Path | None = None


def load_config(kubeconfig: Path | None = None, context: str = "") -> ClusterConfig:
    """The configuration in ``kubeconfig``; without one: in KUBECONFIG's files, ~/.kube/config, or the pod's own.

    Raises ConfigError.
    """
    if kubeconfig is not None:
        return _from_files([kubeconfig], context)
    listed = [Path(text) for text in os.environ.get(KUBECONFIG, "").split(os.pathsep) if text]
    files = [file for file in listed or [Path(DEFAULT_FILE).expanduser()] if file.is_file()]
    if listed and not files:
        raise ConfigError(f"{KUBECONFIG} names no file that exists: {os.environ[KUBECONFIG]}")
    if files:
        return _from_files(files, context)
    if (SERVICE_ACCOUNT / "token").is_file():
        return in_cluster(SERVICE_ACCOUNT)
    raise ConfigError(f"no cluster configured: set {KUBECONFIG}, or write {DEFAULT_FILE}, or run inside a pod")


def in_cluster(directory: Path = SERVICE_ACCOUNT) -> ClusterConfig:
    """The configuration of a pod, from the service account mounted at ``directory``. Raises ConfigError."""
    from lightkube import ConfigError as LightkubeError  # noqa: PLC0415  # deferred: 70 ms, only when needed
    from lightkube import KubeConfig  # noqa: PLC0415  # as above

    try:
        single = KubeConfig.from_service_account(directory).get()
    except (LightkubeError, KeyError) as error:
        raise ConfigError(f"not in a pod of a cluster: {error}") from error
    assert single
    return _understood(single, {}, {})


def _from_files(files: Sequence[Path], context: str) -> ClusterConfig:
    from lightkube import ConfigError as LightkubeError  # noqa: PLC0415  # deferred: 70 ms, only when needed
    from lightkube import KubeConfig  # noqa: PLC0415  # as above

    where = ", ".join(map(str, files))
    merged: dict[str, Any] = {name: [] for name in _LISTS}
    for file in files:
        _merge(merged, _read(file), file.parent)
    try:
        known = KubeConfig.from_dict(merged)  # pyright: ignore[reportUnknownMemberType]  # typed as a bare Dict
        single = known.get(context or None)
    except LightkubeError as error:
        raise ConfigError(f"{where}: {error}") from error
    except KeyError as error:
        raise ConfigError(f"{where}: there is no {error}") from error
    except (msgspec.ValidationError, TypeError) as error:
        raise ConfigError(f"{where}: no kubeconfig: {error}") from error
    assert single
    return _understood(
        single,
        _entry(merged, "cluster", single.context.cluster),
        _entry(merged, "user", single.context.user or ""),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    if content.lstrip().startswith(b"{"):  # JSON is YAML, and read faster as what it is
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            pass
    import yaml  # noqa: PLC0415  # deferred: not needed for files that Ketch writes

    try:
        parsed: Any = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: no YAML: {error}") from error
    if not isinstance(parsed, dict):
        raise ConfigError(f"{file}: no kubeconfig")
    return parsed  # pyright: ignore[reportUnknownVariableType]  # YAML from outside


def _merge(merged: dict[str, Any], content: Mapping[str, Any], folder: Path) -> None:
    """Add what ``content`` has: of equal names the first counts; relative paths are made absolute."""
    for plural in _LISTS:
        names = {item["name"] for item in merged[plural]}
        for item in content.get(plural) or ():
            if isinstance(item, dict) and "name" in item and item["name"] not in names:
                merged[plural].append(_absolute(item, folder))  # pyright: ignore[reportUnknownArgumentType]
    if content.get("current-context"):
        merged.setdefault("current-context", content["current-context"])


def _absolute(item: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A named entry (one of cluster, user, context) with its file names made absolute."""
    result = dict(item)
    for key, inner in item.items():
        if isinstance(inner, dict):
            values: dict[str, Any] = inner  # pyright: ignore[reportUnknownVariableType]  # YAML from outside
            result[key] = {k: str(folder / str(v)) if k in _PATHS and v else v for k, v in values.items()}
    return result


def _entry(merged: Mapping[str, Any], singular: str, name: str) -> Mapping[str, Any]:
    found: Any = next((item.get(singular) for item in merged[f"{singular}s"] if item["name"] == name), None)
    return found or {}


def _understood(single: "SingleConfig", cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ClusterConfig:
    """``cluster`` and ``user`` are the raw entries, for what lightkube's models lack."""
    known = single.cluster
    return _identified(
        ClusterConfig(
            server=known.server.rstrip("/"),
            namespace=single.namespace,
            authority=_pem(known.certificate_auth_data, known.certificate_auth),
            insecure=known.insecure,
            server_name=str(cluster.get("tls-server-name") or ""),
            proxy_url=str(cluster.get("proxy-url") or ""),
        ),
        single.user,
        user,
    )


def _identified(config: ClusterConfig, who: "User | None", raw: Mapping[str, Any]) -> ClusterConfig:
    """``config`` with the identity of a user."""
    if who is None:
        return config
    if raw.get("auth-provider"):
        raise ConfigError("users with an auth-provider are not supported: use an exec plugin")
    return replace(
        config,
        client_certificate=_pem(who.client_cert_data, who.client_cert),
        client_key=_pem(who.client_key_data, who.client_key),
        token="" if who.token_file else who.token or "",
        token_file=Path(who.token_file) if who.token_file else None,
        basic=(who.username, who.password or "") if who.username else None,
        exec=_plugin(raw.get("exec")),
    )


def _pem(data: str | None, file: str | None) -> str:
    """PEM text given inline (base64) or as a file."""
    try:
        if data:
            return base64.b64decode("".join(data.split()), validate=True).decode()
        return Path(file).read_text() if file else ""
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"certificate or key data is no base64 of PEM text: {error}") from error
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error


def _plugin(raw: Mapping[str, Any] | None) -> ExecPlugin | None:
    if not raw:
        return None
    return ExecPlugin(
        api_version=str(raw.get("apiVersion") or ""),
        command=str(raw.get("command") or ""),
        args=tuple(map(str, raw.get("args") or ())),
        env={str(item["name"]): str(item["value"]) for item in raw.get("env") or ()},
        provide_cluster_info=bool(raw.get("provideClusterInfo")),
        install_hint=str(raw.get("installHint") or ""),
    )
