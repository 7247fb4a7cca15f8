"""The distribution API, version 2: manifests and blobs of one repository, with whatever proof the registry asks for."""

import base64
import hashlib
import re
import ssl
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from ketch.local.images.oci.credentials import ANONYMOUS, Credentials
from ketch.local.images.oci.errors import DigestMismatch, NotFound, RegistryError, Unauthorized
from ketch.local.images.oci.manifests import LONGEST_DOCUMENT, MANIFEST_TYPES, digest_of, verified
from ketch.local.images.oci.settings import Endpoint

TRIES = 4
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
CONNECT_SECONDS, SILENT_SECONDS = 15.0, 60.0
CLIENT = "ketch"
_PARAMETER = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"|(\w+)=([^\s,"]+)')


class _Again(Exception):
    """It may go well the next time; ``pause`` is how long the registry wants to be left alone."""

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


def challenge(header: str) -> tuple[str, Mapping[str, str]]:
    """The scheme, in small letters, and the parameters of ``WWW-Authenticate``. Pure."""
    scheme, _, rest = header.strip().partition(" ")
    found = {name or bare: value or word for name, value, bare, word in _PARAMETER.findall(rest)}
    return scheme.lower(), found


def trust(endpoint: Endpoint) -> ssl.SSLContext:
    """Whose certificates count: those whom this machine trusts, and those of the settings. Raises RegistryError."""
    context = ssl.create_default_context()
    if endpoint.ca:
        try:
            context.load_verify_locations(endpoint.ca)
        except OSError as error:
            raise RegistryError(f'the certificates in "{endpoint.ca}" cannot be read: {error}') from error
    if endpoint.insecure and not endpoint.ca:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Repository:
    """One repository at one endpoint. Safe to use from several threads at once."""

    def __init__(self, endpoint: Endpoint, repository: str, credentials: Credentials = ANONYMOUS) -> None:
        self.endpoint = endpoint
        self._base = f"{endpoint.url}/v2/{repository}"
        self._scope = f"repository:{repository}:pull"
        self._credentials = credentials
        self._authorization = f"Bearer {credentials.registry_token}" if credentials.registry_token else ""
        self._proving = threading.Lock()
        timeout = httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
        self._client = httpx.Client(verify=trust(endpoint), timeout=timeout, follow_redirects=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def manifest(self, reference: str) -> tuple[bytes, str]:
        """A manifest or an index by tag or digest, and its digest. Raises RegistryError, DigestMismatch."""
        accepted = {"Accept": ", ".join(MANIFEST_TYPES)}
        data = self._document(f"{self._base}/manifests/{reference}", accepted)
        if ":" in reference:
            return verified(data, reference, "the manifest"), reference
        return data, digest_of(data)

    def document(self, digest: str) -> bytes:
        """A small blob. Raises RegistryError, DigestMismatch."""
        return verified(self._document(f"{self._base}/blobs/{digest}"), digest, "the configuration")

    def download(self, digest: str, path: Path) -> None:
        """A blob into a file, going on behind what is there of it. Raises RegistryError, DigestMismatch."""
        failures, pause = 0, FIRST_PAUSE
        while True:
            before = path.stat().st_size if path.exists() else 0
            try:
                self._continue(digest, path, before)
                break
            except (_Again, httpx.TransportError) as error:
                # What comes a little further each time is not hopeless.
                further = path.exists() and path.stat().st_size > before
                failures, pause = (1, FIRST_PAUSE) if further else (failures + 1, pause)
                if failures >= TRIES:
                    raise RegistryError(f"{self.endpoint.url} ends in the middle of a layer: {error}") from error
                threading.Event().wait(max(pause, getattr(error, "pause", 0.0)))
                pause = min(LONGEST_PAUSE, pause * 2)
        found = _file_digest(path, digest.partition(":")[0])
        if found != digest:
            path.unlink()
            raise DigestMismatch(f"a layer is not what its digest says: it has {found} in place of {digest}")

    def _continue(self, digest: str, path: Path, there: int) -> None:
        headers = {"Range": f"bytes={there}-"} if there else {}
        with self._asking("GET", f"{self._base}/blobs/{digest}", headers, partial=True) as response:
            if response.status_code == 416:
                return  # all of it is there
            mode = "ab" if response.status_code == 206 else "wb"
            with path.open(mode) as file:
                for data in response.iter_raw():
                    file.write(data)

    def _document(self, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        """All of something small. Asks again where it breaks off."""
        tries = TRIES
        while True:
            tries -= 1
            data = b""
            try:
                with self._asking("GET", url, headers) as response:
                    for part in response.iter_bytes():
                        data += part
                        if len(data) > LONGEST_DOCUMENT:
                            raise RegistryError(f"{url} is longer than {LONGEST_DOCUMENT >> 20} MiB: it is not read")
            except httpx.TransportError as error:
                if not tries:
                    raise RegistryError(f"{url} breaks off: {error}") from error
            else:
                return data

    @contextmanager
    def _asking(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, *, partial: bool = False
    ) -> Generator[httpx.Response]:
        """A request that was answered well. Asks again where that may help. Raises RegistryError."""
        pause = FIRST_PAUSE
        tries = TRIES
        while True:
            tries -= 1
            try:
                response = self._proven(method, url, dict(headers or {}), partial=partial)
                break
            except (_Again, httpx.TransportError) as error:
                hopeless = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol)
                if not tries or hopeless:
                    raise RegistryError(f"{self.endpoint.url} cannot be reached: {error}") from error
                threading.Event().wait(min(LONGEST_PAUSE, max(pause, getattr(error, "pause", 0.0))))
                pause *= 2
        try:
            yield response
        finally:
            response.close()

    def _proven(self, method: str, url: str, headers: dict[str, str], *, partial: bool) -> httpx.Response:
        used = self._authorization
        response = self._send(method, url, headers, used)
        if response.status_code == 401:
            wanted = response.headers.get("WWW-Authenticate", "")
            response.close()
            with self._proving:
                if self._authorization == used:  # else another thread has asked meanwhile
                    self._authorization = self._prove(wanted)
            response = self._send(method, url, headers, self._authorization)
        self._judge(response, partial=partial)
        return response

    def _send(self, method: str, url: str, headers: Mapping[str, str], authorization: str) -> httpx.Response:
        proof = {"Authorization": authorization} if authorization else {}
        request = self._client.build_request(method, url, headers={**headers, **proof, "Accept-Encoding": "identity"})
        return self._client.send(request, stream=True)

    def _judge(self, response: httpx.Response, *, partial: bool) -> None:
        status = response.status_code
        if status in (200, 206) or (partial and status == 416):
            return
        response.read()
        said, url = _complaint(response), self.endpoint.url
        response.close()
        if status in (401, 403):
            who = f'user "{self._credentials.username}"' if self._credentials != ANONYMOUS else "anonymous users"
            raise Unauthorized(f"{url} refuses {who} (HTTP {status}{said})")
        if status == 404:
            raise NotFound(f"{url} has no such image{said}")
        if status == 429 or status >= 500:
            after = response.headers.get("Retry-After", "")
            raise _Again(f"HTTP {status}{said}", float(after) if after.isdigit() else 0.0)
        raise RegistryError(f"{url} answers HTTP {status}{said}")

    def _prove(self, header: str) -> str:
        """The word of proof that a registry asks for. Raises Unauthorized, RegistryError."""
        scheme, parameters = challenge(header)
        credentials = self._credentials
        if scheme == "basic":
            if not credentials.username:
                raise Unauthorized(f"{self.endpoint.url} wants a user and a password")
            return _basic(credentials)
        if scheme != "bearer" or not parameters.get("realm"):
            raise Unauthorized(f'{self.endpoint.url} wants a proof of a kind that is not known: "{header}"')
        return f"Bearer {self._token(parameters)}"

    def _token(self, parameters: Mapping[str, str]) -> str:
        service, scope = parameters.get("service", ""), parameters.get("scope") or self._scope
        credentials, realm = self._credentials, parameters["realm"]
        asked = {"service": service, "scope": scope}
        if realm.startswith("http:") and not self.endpoint.insecure:
            raise Unauthorized(f"{self.endpoint.url} wants the password sent to {realm}, where anyone could read it")
        if credentials.identity_token:
            form = {**asked, "grant_type": "refresh_token", "client_id": CLIENT}
            response = self._client.post(realm, data={**form, "refresh_token": credentials.identity_token})
        else:
            proof = {"Authorization": _basic(credentials)} if credentials.username else {}
            response = self._client.get(realm, params=asked, headers=proof)
        if response.status_code == 429 or response.status_code >= 500:
            raise _Again(f"{realm} answers HTTP {response.status_code}")
        if response.status_code != 200:
            raise Unauthorized(f"{realm} gives no token (HTTP {response.status_code}{_complaint(response)})")
        try:
            content: Any = response.json()
            token = content.get("token") or content.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str):
            raise RegistryError(f"{realm} answers without a token")
        return token


def _basic(credentials: Credentials) -> str:
    text = f"{credentials.username}:{credentials.password}"
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def _complaint(response: httpx.Response) -> str:
    """The registry's own words, if it has any."""
    try:
        content: Any = response.json()
        errors: Sequence[Mapping[str, Any]] = content["errors"]
        words = [str(each.get("message") or each.get("code")) for each in errors]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f": {'; '.join(words)[:300]}" if words else ""


def _file_digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
