"""OCI images as what containers start from: looked up in the store, pulled when they are wanted and not there."""

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.local.images.image import Image
from ketch.local.images.oci.asking import FOLDER, Answer, Request
from ketch.local.images.oci.credentials import Credentials
from ketch.local.images.oci.references import ImageName
from ketch.local.images.oci.store import Store, StoredImage
from ketch.local.images.rootfs import SEARCH_PATH
from ketch.local.sandbox.spec import Mount

PULLS_AT_ONCE = 3
LAST_WORDS = 500
USED_EVERY = 60.0
"""Seconds between two notes that an image is wanted."""


class PullFailed(Exception):
    """The image could not be pulled; the message says why."""


class PullPolicy(StrEnum):
    """When a registry is asked."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


def _nobody() -> None:
    """Is told nothing."""


@dataclass(frozen=True)
class Wanted:
    """How an image is wanted: ``pulling`` is called when a registry is about to be asked."""

    policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    credentials: Sequence[Credentials] = ()
    pulling: Callable[[], None] = _nobody


class StoredImages:
    """The OCI images of one data directory. Each is pulled once, however many ask for it meanwhile."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.store = Store(data_dir / FOLDER)
        self._made: dict[str, tuple[StoredImage, Image]] = {}
        self._pulling: dict[tuple[ImageName, tuple[Credentials, ...]], asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(PULLS_AT_ONCE)
        self._used: dict[str, float] = {}

    def find(self, name: ImageName) -> StoredImage | None:
        """The image, if all of it is there. Raises OCIError."""
        found = self.store.find(name)
        return found if found is not None and self.store.whole(found) else None

    def image(self, text: str, stored: StoredImage) -> Image:
        """What a container of it starts from. Raises OCIError."""
        now = SYSTEM_CLOCK.monotonic()
        if now - self._used.get(stored.config, -USED_EVERY) >= USED_EVERY:
            self._used[stored.config] = now
            self.store.touch(stored)
        known = self._made.get(text)
        if known is None or known[0] != stored:
            known = self._made[text] = (stored, self._make(text, stored))
        return known[1]

    def _make(self, text: str, stored: StoredImage) -> Image:
        process = self.store.configuration(stored).process
        tree = self.store.tree(stored)
        root = Mount("overlay", "/", tree.layers[0], lower=tuple(tree.layers[1:]))
        return Image(
            name=text,
            digest=stored.id,
            mounts=(root,),
            env={"PATH": SEARCH_PATH, **variables(process.env or ())},
            argv=tuple(process.cmd or ()),
            working_dir=process.working_dir or "/",
            entrypoint=tuple(process.entrypoint or ()),
            root=tree,
            user=process.user,
            stop_signal=signal_number(process.stop_signal),
            size=stored.size,
        )

    async def pull(self, name: ImageName, wanted: Wanted) -> None:
        """Have what the registry has now. Raises PullFailed."""
        key = (name, tuple(wanted.credentials))
        task = self._pulling.get(key)
        if task is None:
            task = self._pulling[key] = asyncio.create_task(self._pull(name, wanted.credentials))
            task.add_done_callback(lambda done: self._ended(key, done))
        wanted.pulling()
        await asyncio.shield(task)

    def _ended(self, key: tuple[ImageName, tuple[Credentials, ...]], done: asyncio.Task[None]) -> None:
        self._pulling.pop(key, None)
        if not done.cancelled():
            done.exception()  # those who still wait are told; none may be left

    async def _pull(self, name: ImageName, credentials: Sequence[Credentials]) -> None:
        async with self._room:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "ketch.local.images.oci.puller", "--data-dir", str(self._data_dir)),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
            except OSError as error:
                raise PullFailed(f"no process can be started that pulls: {error}") from error
            try:
                said, complaint = await process.communicate(msgspec.json.encode(Request(str(name), credentials)))
            except asyncio.CancelledError:
                process.kill()
                raise
        try:
            answer = msgspec.json.decode(said, type=Answer)
        except msgspec.DecodeError:
            words = complaint.decode(errors="replace").strip()[-LAST_WORDS:]
            raise PullFailed(f"the process that pulls ended (exit code {process.returncode}): {words}") from None
        if answer.error:
            raise PullFailed(answer.error)

    async def close(self) -> None:
        """Give up what is being pulled."""
        tasks = tuple(self._pulling.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def variables(lines: Sequence[str]) -> Mapping[str, str]:
    """``NAME=value`` lines as variables."""
    pairs = (line.partition("=") for line in lines)
    return {name: value for name, _, value in pairs if name}


def signal_number(text: str) -> int | None:
    """``SIGQUIT``, ``QUIT`` or ``3`` as a number; None where the text is no signal."""
    name = text.strip().upper().removeprefix("SIG")
    if name.isdigit():
        number = int(name)
        return number if 0 < number < signal.NSIG else None
    base, plus, offset = name.partition("+")
    found = getattr(signal, f"SIG{base}", None)
    if not isinstance(found, signal.Signals):
        return None
    return found + (int(offset) if plus and offset.isdigit() else 0)
