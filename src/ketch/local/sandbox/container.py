"""A container that was started, whoever started it: found again by its directory."""

from pathlib import Path

from ketch.local.sandbox.spec import Exit, Started


class Container:
    """One started container. Every method works after any restart of the node agent or the zygote."""

    directory: Path
    started: Started

    @classmethod
    def adopt(cls, directory: Path) -> "Container":
        """The container whose records stand in ``directory``. Raises NotStarted."""
        raise NotImplementedError

    @property
    def running(self) -> bool:
        """Whether its keeper lives."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """The user's process, as the platform sees it."""
        return self.started.pid

    async def wait(self) -> Exit:
        """How it ended, once it has. A keeper that is gone without a word: 137, ContainerStatusUnknown."""
        raise NotImplementedError

    def signal(self, number: int) -> None:
        """Send a signal to the user's process. Harmless when it has ended."""
        raise NotImplementedError

    def kill(self) -> None:
        """End every process of the container at once. Harmless when it has ended."""
        raise NotImplementedError
