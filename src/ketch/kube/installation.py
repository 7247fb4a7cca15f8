"""Custom kinds made known to an API server: applied by whoever may, else looked for."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.errors import Forbidden, NotFound, Unavailable
from ketch.kube.types.apiextensions import CustomResourceDefinition

Install = Callable[[Client, Sequence[CustomResourceDefinition], str], Awaitable[None]]
"""Makes definitions known, as a field manager."""

SERVED_WITHIN, LOOK_AGAIN = 30.0, 0.1


class DefinitionsMissing(Exception):
    """Kinds that the API server does not serve and that we may not define; the message names them."""


async def apply_all(client: Client, definitions: Sequence[CustomResourceDefinition], manager: str) -> None:
    """Apply them, where what is applied is served at once. Raises APIError."""
    for definition in definitions:
        await client.apply(definition, manager=manager)


@dataclass(frozen=True)
class PatientInstaller:
    """For any API server: waits until it serves the kinds, and is content with those that somebody else has defined."""

    clock: Clock

    async def __call__(self, client: Client, definitions: Sequence[CustomResourceDefinition], manager: str) -> None:
        """Raises DefinitionsMissing, APIError, TransportError."""
        applied: list[CustomResourceDefinition] = []
        missing: list[str] = []
        for definition in definitions:
            try:
                await client.apply(definition, manager=manager)
                applied.append(definition)
            except Forbidden:
                if not await _is_served(client, definition):
                    missing.append(definition.metadata.name)
        if missing:
            raise DefinitionsMissing(
                f"not defined in the cluster, and this user may not define them: {', '.join(missing)}: "
                "have an administrator apply what 'ketch export' prints"
            )
        deadline = self.clock.monotonic() + SERVED_WITHIN
        for definition in applied:
            while not await _is_served(client, definition):
                if self.clock.monotonic() > deadline:
                    raise Unavailable(f"{definition.metadata.name} was defined, but is not served")
                await self.clock.sleep(LOOK_AGAIN)


async def _is_served(client: Client, definition: CustomResourceDefinition) -> bool:
    spec = definition.spec
    assert spec.names is not None
    for version in spec.versions:
        try:
            answer: dict[str, Any] = await client.request("GET", f"/apis/{spec.group}/{version.name}")
        except NotFound:
            return False
        if all(each["name"] != spec.names.plural for each in answer.get("resources") or ()):
            return False
    return True
