"""The node agent's way to the keeper zygote."""

from collections.abc import Sequence
from pathlib import Path

from ketch.local.sandbox.container import Container
from ketch.local.sandbox.spec import ContainerSpec, ExecResult, Started


class SandboxClient:
    """Starts containers, and commands in them. Safe to use from many tasks at once."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path

    async def start(self, spec: ContainerSpec, netns_fd: int | None = None) -> Started:
        """Start a container and return when its program runs. Raises SandboxError (see ``errors``).

        Without ``netns_fd`` it lives in the network the keeper lives in.
        """
        raise NotImplementedError

    async def exec(
        self, container: Container, argv: Sequence[str], timeout: float | None = None, limit: int = 1 << 20
    ) -> ExecResult:
        """Run ``argv`` in the container's namespaces, with its environment, directory and user.

        Output beyond ``limit`` bytes is dropped. Raises ExecTimeout, NotRunning, StartError.
        """
        raise NotImplementedError
