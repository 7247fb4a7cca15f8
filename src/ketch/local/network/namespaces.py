"""Linux namespaces: making, entering, and threads that live in one."""

import asyncio
import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21
_LIBC = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


class Step(StrEnum):
    """What an isolated network needs of the machine, in the order in which it is made."""

    USER_NAMESPACE = "user namespaces"
    NETWORK_NAMESPACE = "network namespaces"
    ROUTING = "addresses and routing"
    INTERFACES = "virtual interfaces"
    TRANSLATION = "address translation"


class NotPermitted(Exception):
    """This machine does not let us make a network of our own: ``step`` failed, the message says how."""

    def __init__(self, step: Step, why: str) -> None:
        super().__init__(f"{step}: {why}")
        self.step = step
        self.why = why


def _call(name: str, *arguments: int) -> None:
    if getattr(_LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Move the calling thread into new namespaces."""
    _call("unshare", flags)


def enter(descriptor: int, flag: int) -> None:
    """Move the calling thread into the namespace behind ``descriptor``."""
    _call("setns", descriptor, flag)


def open_namespace(kind: str) -> int:
    """A descriptor of the calling thread's own namespace of that kind ("net", "user")."""
    return os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def effective_capabilities() -> int:
    """The calling process's effective capabilities, as a bit set."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def needs_user_namespace() -> bool:
    """Whether only a user namespace can give this process the right to make network namespaces."""
    wanted = 1 << CAP_NET_ADMIN | 1 << CAP_SYS_ADMIN
    return effective_capabilities() & wanted != wanted


def become_root_of_own() -> None:
    """Move this process (single-threaded yet) into a new user namespace where its user is root."""
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path(f"/proc/self/{name}").write_text(text)


class NamespaceThread:
    """One thread that lives in a network namespace; what must happen there is handed to it.

    Moving away from the host's namespace is final for a thread of an ordinary user, hence threads of their own.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, name)

    def call(self, function: Callable[[], T]) -> T:
        """Run ``function`` there and wait for it."""
        return self._executor.submit(function).result()

    async def run(self, function: Callable[[], T]) -> T:
        """Run ``function`` there while the event loop goes on."""
        return await asyncio.wrap_future(self._executor.submit(function))

    def close(self) -> None:
        """End the thread after what it has been given."""
        self._executor.shutdown(wait=True, cancel_futures=True)
