"""The kernel's calls that Python 3.11 does not offer: namespaces, capabilities and more, through the C library."""

import ctypes
import os
import signal

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
CAP_SYS_ADMIN, LAST_CAPABILITY = 21, 40
CAPABILITY_VERSION_3 = 0x20080522
CLONE3, CLOSE_RANGE, ALL_NUMBERS = 435, 436, 0x7FFFFFFF

libc = ctypes.CDLL(None, use_errno=True)
"""The C library, for calls that have no name here."""


_held = ctypes.PyDLL(None, use_errno=True)
"""The same, called without letting other threads run."""


def checked(result: int) -> None:
    """Raise what the C library says went wrong, if its answer says so."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def set_namespace(descriptor: int, kinds: int) -> None:
    """setns(2): enter a namespace, or several of the process that a pidfd means."""
    checked(libc.setns(descriptor, kinds))


def unshare(kinds: int) -> None:
    """unshare(2)."""
    checked(libc.unshare(kinds))


def fork_into(kinds: int) -> int:
    """fork(2), with the child in new namespaces of these kinds: of a PID namespace it is the init.

    For processes of one thread. unshare(2) would do it too, but its caller's other children would be in that PID
    namespace as well, and an ordinary user could not go back.
    """
    arguments = (ctypes.c_uint64 * 8)(kinds, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    pid = _held.syscall(CLONE3, arguments, ctypes.c_long(ctypes.sizeof(arguments)))
    checked(pid)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    return pid


def die_with_parent() -> None:
    """End this process when its parent ends."""
    checked(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def outlive_parent() -> None:
    """Take ``die_with_parent`` back."""
    checked(libc.prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0))


def drop_privileges() -> None:
    """Give up every capability for good, and whatever setuid programs could give."""
    for capability in range(LAST_CAPABILITY + 1):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # EINVAL: the kernel does not know this one
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    checked(libc.capset(header, (ctypes.c_uint32 * 6)()))


def close_from(lowest: int) -> None:
    """Close every descriptor from this number on."""
    checked(libc.syscall(CLOSE_RANGE, lowest, ALL_NUMBERS, 0))


def sync_file_system(descriptor: int) -> None:
    """syncfs(2): put everything on disk that was written to the file system of an open file."""
    checked(libc.syncfs(descriptor))


def may_administer() -> bool:
    """Whether this process may make namespaces of every kind without a user namespace of its own."""
    with open("/proc/self/status", "rb") as file:  # noqa: PTH123
        effective = next(line for line in file if line.startswith(b"CapEff:"))
    return bool(int(effective.split()[1], 16) >> CAP_SYS_ADMIN & 1)


def own_user_namespace() -> None:
    """Become root of a new user namespace in which nobody else exists."""
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
            file.write(text)
