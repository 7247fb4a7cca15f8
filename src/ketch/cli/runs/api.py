"""The calls of the Kubeflow Pipelines API that the command line makes.

On the standard library's client: an HTTP library would take longer to load than most commands take to answer.
"""

import http.client
import json
import socket
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

API = "/apis/v2beta1"
NODES = "/apis/v1alpha1"
FINISHED = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"})
PAGE_SIZE = 200
TIMEOUT = 60.0
CHUNK = 1 << 16

_UNAVAILABLE = (502, 503, 504)
_NOT_FOUND = 404


class APIUnreachable(Exception):
    """Nothing answers at the address."""


class APIRefused(Exception):
    """The API understood and refused; the message is its own."""


class APINotFound(APIRefused):
    """What was asked for is not there."""


class PipelinesAPI:
    """Runs on one platform. Every call raises APIUnreachable or APIRefused."""

    def __init__(self, host: str) -> None:
        self.host = host.rstrip("/")
        parts = urlsplit(host if "://" in host else f"http://{host}")
        try:
            usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
        except ValueError:  # the port is no number
            usable = False
        if not usable:
            raise APIUnreachable(f"{host!r} is no address of a platform: give one like http://localhost:8080")
        self._secure, self._address, self._prefix = parts.scheme == "https", parts.netloc, parts.path.rstrip("/")
        self._connection = self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exit_details: object) -> None:
        self._connection.close()

    def create_run(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Submit; the created run."""
        return self.call("POST", "/runs", body=run)

    def get_run(self, run_id: str) -> dict[str, Any]:
        """The run with its tasks."""
        return self.call("GET", f"/runs/{quote(run_id, safe='')}")

    def tasks(self, run_id: str) -> Iterator[dict[str, Any]]:
        """The run's tasks as the native API tells of them: kinds, iterations, values."""
        return self.pages(f"/runs/{quote(run_id, safe='')}/tasks", "tasks")

    def act(self, run_id: str, verb: str) -> None:
        """``terminate``, ``retry``, ``archive`` or ``unarchive``."""
        self.call("POST", f"/runs/{quote(run_id, safe='')}:{verb}")

    def experiment_id(self, name: str) -> str:
        """The experiment of that name, created if there is none."""
        found = self.find_experiment(name)
        return str((found or self.call("POST", "/experiments", body={"display_name": name}))["experiment_id"])

    def find_experiment(self, name: str) -> dict[str, Any] | None:
        """The experiment of that name."""
        query = {"filter": predicates(("EQUALS", "display_name", "string_value", name))}
        return next(self.pages("/experiments", "experiments", query), None)

    def pages(
        self, path: str, key: str, query: Mapping[str, str] | None = None, size: int = PAGE_SIZE
    ) -> Iterator[dict[str, Any]]:
        """What a list call has, page after page as it is asked for; ``size`` is that of a page."""
        token = ""
        while True:
            given = {**(query or {}), "page_size": str(size)} | ({"page_token": token} if token else {})
            answer = self.call("GET", path, given)
            yield from answer.get(key, ())
            token = answer.get("next_page_token", "")
            if not token:
                return

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        version: str = API,
    ) -> dict[str, Any]:
        """One call; its answer."""
        content = None if body is None else json.dumps(body).encode()
        response = self._request(self._connection, method, version + path, query, content)
        try:
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._unreachable(error) from error
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise self._refusal(response.status, answer)
        try:
            found: dict[str, Any] = json.loads(answer or b"{}")
        except ValueError as error:
            raise APIUnreachable(f"what answers at {self.host} is no platform: its answer is not JSON") from error
        return found

    def pod(self, run_id: str, node: str) -> dict[str, Any]:
        """The pod of a step's attempt, as it was made or would be; by its task's id or the pod's name."""
        return self.call("GET", f"/runs/{quote(run_id, safe='')}/nodes/{quote(node, safe='')}/pod", version=NODES)

    @contextmanager
    def log(self, run_id: str, node: str, *, follow: bool) -> Generator[Iterator[bytes]]:
        """The log of a step, by its task's id or its pod's name; on a connection of its own."""
        connection = self._connect(None if follow else TIMEOUT)
        path = f"{NODES}/runs/{quote(run_id, safe='')}/nodes/{quote(node, safe='')}/log"
        try:
            response = self._request(connection, "GET", path, {"follow": "true"} if follow else None, None)
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                raise self._refusal(response.status, response.read())
            yield self._chunks(response)
        finally:
            connection.close()

    def _chunks(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        while True:
            try:
                chunk = response.read1(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
            if not chunk:
                return
            yield chunk

    def _connect(self, timeout: float | None = TIMEOUT) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._address, timeout=timeout)

    def _request(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        content: bytes | None,
    ) -> http.client.HTTPResponse:
        """Send, and once more when the connection that was kept had been closed meanwhile (reads only)."""
        target = self._prefix + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Content-Type": "application/json"} if content is not None else {}
        kept = connection.sock is not None
        for again in (method == "GET" and kept, False):
            try:
                connection.request(method, target, content, headers)
                return connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if not again:
                    raise self._unreachable(error) from error
        raise AssertionError(target)

    def _unreachable(self, error: Exception) -> APIUnreachable:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        if isinstance(error, socket.gaierror):
            reason = "there is no such host"
        return APIUnreachable(f"no platform answers at {self.host} ({reason}): start one with 'ketch up'")

    def _refusal(self, status: int, answer: bytes) -> Exception:
        try:
            message = str(json.loads(answer)["message"])
        except (ValueError, KeyError, TypeError):
            message = answer.decode(errors="replace").strip() or f"HTTP {status}"
        if status in _UNAVAILABLE:
            return APIUnreachable(f"the platform at {self.host} is not ready ({message}): see 'ketch status'")
        return APINotFound(message) if status == _NOT_FOUND else APIRefused(message)


def predicates(*each: tuple[str, str, str, Any]) -> str:
    """A list call's filter: operation, key, kind of value, value of each condition."""
    return json.dumps(
        {"predicates": [{"operation": operation, "key": key, kind: value} for operation, key, kind, value in each]}
    )
