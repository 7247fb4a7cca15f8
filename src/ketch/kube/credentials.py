"""What proves an identity to an API server over HTTP: fixed tokens, token files, exec plugins.

Credentials that change (files are rotated, plugins' answers expire) are renewed when due, and once more when the
server refuses them.
"""

import asyncio
import base64
import os
import ssl
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson

from ketch.kube.clock import Clock
from ketch.kube.codec import parse_time
from ketch.kube.config import ClusterConfig, ConfigError, ExecPlugin
from ketch.kube.errors import TransportError

TOKEN_FILE_SECONDS = 60.0
PLUGIN_SECONDS = 60.0
_EARLY = timedelta(seconds=10)
_PLUGIN_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


class Identity(NamedTuple):
    """What a request carries. Certificate and key, when given, replace those of the configuration."""

    authorization: str = ""
    certificate: str = ""
    key: str = ""


class Credentials(Protocol):
    """Where identities come from."""

    async def identity(self) -> Identity:
        """What to send now. Raises TransportError when it cannot be had."""
        ...

    def refused(self) -> bool:
        """The server refused the last identity: whether a fresh one is worth a try."""
        ...


class Fixed:
    """An identity that never changes."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def identity(self) -> Identity:
        """Always the same."""
        return self._identity

    def refused(self) -> bool:
        """There is no other."""
        return False


class TokenFile:
    """A bearer token in a file that somebody else renews."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._token = ""
        self._read_at = 0.0

    async def identity(self) -> Identity:
        """The token, read again every minute. Raises TransportError."""
        now = self._clock.monotonic()
        if not self._token or now - self._read_at >= TOKEN_FILE_SECONDS:
            try:
                self._token, self._read_at = self._file.read_text().strip(), now
            except OSError as error:
                raise TransportError(f"cannot read the token in {self._file}: {error.strerror}") from error
        return Identity(f"Bearer {self._token}")

    def refused(self) -> bool:
        """Read the file again."""
        fresh, self._token = self._token, ""
        return bool(fresh)


class Exec:
    """Credentials printed by a plugin; one run at a time, its answer kept until it expires."""

    def __init__(self, plugin: ExecPlugin, config: ClusterConfig, clock: Clock) -> None:
        if plugin.api_version not in _PLUGIN_VERSIONS:
            raise ConfigError(f"exec plugin {plugin.command}: apiVersion {plugin.api_version!r} is not supported")
        self._plugin = plugin
        self._config = config
        self._clock = clock
        self._running = asyncio.Lock()
        self._identity: Identity | None = None
        self._expires: datetime | None = None

    async def identity(self) -> Identity:
        """The plugin's answer. Raises TransportError with the plugin's own words."""
        async with self._running:
            if self._expires is not None and self._clock.now() + _EARLY >= self._expires:
                self._identity = None
            if self._identity is None:
                self._identity, self._expires = self._understood(await self._run())
            return self._identity

    def refused(self) -> bool:
        """Run the plugin again."""
        known, self._identity = self._identity, None
        return known is not None

    async def _run(self) -> bytes:
        plugin = self._plugin
        environment = {**os.environ, **plugin.env, "KUBERNETES_EXEC_INFO": orjson.dumps(self._info()).decode()}
        try:
            process = await asyncio.create_subprocess_exec(
                plugin.command,
                *plugin.args,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            hint = f": {plugin.install_hint}" if plugin.install_hint else ""
            raise TransportError(f"exec plugin {plugin.command}: {error.strerror}{hint}") from error
        try:
            async with asyncio.timeout(PLUGIN_SECONDS):
                output, complaint = await process.communicate()
        except TimeoutError:
            raise TransportError(f"exec plugin {plugin.command} gave no answer in {PLUGIN_SECONDS:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            said = complaint.decode(errors="replace").strip()
            raise TransportError(f"exec plugin {plugin.command} failed with {process.returncode}: {said}")
        return output

    def _info(self) -> dict[str, Any]:
        """What the plugin is told (KUBERNETES_EXEC_INFO)."""
        spec: dict[str, Any] = {"interactive": False}
        if self._plugin.provide_cluster_info:
            config = self._config
            spec["cluster"] = {
                "server": config.server,
                "tls-server-name": config.server_name,
                "insecure-skip-tls-verify": config.insecure,
                "certificate-authority-data": base64.b64encode(config.authority.encode()).decode(),
                "proxy-url": config.proxy_url,
            }
        return {"apiVersion": self._plugin.api_version, "kind": "ExecCredential", "spec": spec}

    def _understood(self, output: bytes) -> tuple[Identity, datetime | None]:
        try:
            status: dict[str, Any] = orjson.loads(output)["status"]
            expires = status.get("expirationTimestamp")
            token = status.get("token") or ""
            identity = Identity(
                f"Bearer {token}" if token else "",
                status.get("clientCertificateData") or "",
                status.get("clientKeyData") or "",
            )
            return identity, parse_time(expires) if expires else None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TransportError(f"exec plugin {self._plugin.command} printed no ExecCredential: {error}") from error


def credentials(config: ClusterConfig, clock: Clock) -> Credentials:
    """Where the identity that ``config`` names comes from. Raises ConfigError."""
    if config.exec is not None:
        return Exec(config.exec, config, clock)
    if config.token_file is not None:
        return TokenFile(config.token_file, clock)
    if config.token:
        return Fixed(Identity(f"Bearer {config.token}"))
    if config.basic is not None:
        pair = ":".join(config.basic).encode()
        return Fixed(Identity(f"Basic {base64.b64encode(pair).decode()}"))
    return Fixed(Identity())


def client_context(config: ClusterConfig, identity: Identity) -> ssl.SSLContext:
    """TLS towards the server of ``config``. Raises ConfigError when certificate and key do not fit."""
    try:
        if config.insecure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context = ssl.create_default_context(cadata=config.authority or None)
        certificate = identity.certificate or config.client_certificate
        if certificate:
            _load_pair(context, certificate, identity.key or config.client_key)
    except ssl.SSLError as error:
        raise ConfigError(f"certificates for {config.server} cannot be used: {error}") from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """The standard library takes certificates from files only: write one, private, for as long as it takes."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{certificate}\n{key}")
        file.flush()
        context.load_cert_chain(file.name)
