"""The few calls of the Kubeflow Pipelines API that the command line makes."""

import json
from collections.abc import Mapping
from typing import Any, Self

import httpx

API = "/apis/v2beta1"
FINISHED = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"})


class APIUnreachable(Exception):
    """Nothing answers at the address."""


class APIRefused(Exception):
    """The API understood and refused; the message is its own."""


class PipelinesAPI:
    """Runs on one platform. Every call raises APIUnreachable or APIRefused."""

    def __init__(self, host: str) -> None:
        self.host = host.rstrip("/")
        self._http = httpx.Client(base_url=self.host, timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exit_details: object) -> None:
        self._http.close()

    def create_run(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Submit; the created run."""
        return self._call("POST", "/runs", json=run)

    def get_run(self, run_id: str) -> dict[str, Any]:
        """The run with its tasks."""
        return self._call("GET", f"/runs/{run_id}")

    def terminate_run(self, run_id: str) -> None:
        """Ask for the run's end."""
        self._call("POST", f"/runs/{run_id}:terminate")

    def experiment_id(self, name: str) -> str:
        """The experiment of that name, created if there is none."""
        predicate = {"predicates": [{"operation": "EQUALS", "key": "display_name", "string_value": name}]}
        found = self._call("GET", "/experiments", params={"filter": json.dumps(predicate)}).get("experiments")
        experiment = found[0] if found else self._call("POST", "/experiments", json={"display_name": name})
        return str(experiment["experiment_id"])

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, API + path, **arguments)
        except httpx.HTTPError as error:
            raise APIUnreachable(f"no platform answers at {self.host} ({error}): start one with 'ketch up'") from error
        if answer.is_success:
            return answer.json()
        try:
            message = answer.json()["message"]
        except (ValueError, KeyError, TypeError):
            message = answer.text.strip() or f"HTTP {answer.status_code}"
        if answer.status_code in (502, 503, 504):
            raise APIUnreachable(f"the platform at {self.host} is not ready ({message}): see 'ketch status'")
        raise APIRefused(str(message))
