"""The cluster's namespace: made once, kept by the holder, found again by every later daemon."""

import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ketch.local.network.addresses import LAST_POD
from ketch.local.network.holding import Held, Holder
from ketch.local.network.links import (
    cluster_messages,
    joining_messages,
    moving_messages,
    pod_messages,
    renaming_messages,
)
from ketch.local.network.namespaces import (
    CLONE_NEWNET,
    CLONE_NEWUSER,
    NamespaceThread,
    NotPermitted,
    Step,
    become_root_of_own,
    enter,
    needs_user_namespace,
    open_namespace,
    unshare,
)
from ketch.local.network.netlink import NETLINK_ROUTE, Netlink

CLUSTER, USER = "cluster", "user"
NO_SOCKET = "sockets: used 0\n"
_SOCKET_PREFIX = "socket:"
_SETTINGS = Path("/proc/sys/net")
_CLUSTER_SETTINGS = {
    "ipv4/ip_forward": "1",
    # A pod cannot send in another's name.
    "ipv4/conf/all/rp_filter": "1",
    "ipv4/conf/default/rp_filter": "1",
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
}
_POD_SETTINGS = {
    # Pods have their loopback in IPv6, and nothing else of it: no time is lost on addresses that lead nowhere.
    "ipv6/conf/default/disable_ipv6": "1",
    # As in other container runtimes, an ordinary user in a pod may listen on any port.
    "ipv4/ip_unprivileged_port_start": "0",
}


def _configure(settings: Mapping[str, str]) -> None:
    """Write network settings of the calling thread's namespace."""
    for name, value in settings.items():
        path = _SETTINGS / name
        if name.startswith("ipv6/") and not path.exists():
            continue  # a kernel without IPv6
        path.write_text(value)


class PodMaker:
    """Makes pods' namespaces, one after the other, in a thread of its own."""

    def __init__(self, cluster: int) -> None:
        self._cluster = cluster
        self.thread = NamespaceThread("pods")
        self._links = self.thread.call(self._enter)

    def _enter(self) -> Netlink:
        enter(self._cluster, CLONE_NEWNET)
        return Netlink(NETLINK_ROUTE)

    def make(self, index: int) -> int:
        """A namespace joined to the cluster's under the address at ``index``. Raises OSError, leaving nothing."""
        unshare(CLONE_NEWNET)
        namespace = -1
        try:
            namespace = open_namespace("net")
            _configure(_POD_SETTINGS)
            self._links.send(joining_messages(index, namespace))
            with contextlib.closing(Netlink(NETLINK_ROUTE)) as links:
                links.send(pod_messages(index))
        except OSError:
            if namespace >= 0:
                os.close(namespace)
            raise
        finally:
            enter(self._cluster, CLONE_NEWNET)
        return namespace

    def renew(self, namespace: int, interface: int, before: int, after: int) -> bool:
        """Have a namespace that was made at ``interface`` be as one just made, at ``after``, if nobody ever used it.

        False: something was sent in it, or somebody still lives there. Raises OSError.
        """
        enter(namespace, CLONE_NEWNET)
        try:
            if not unused():
                return False
            with contextlib.closing(Netlink(NETLINK_ROUTE)) as links:
                links.send(renaming_messages(before, after))
        finally:
            enter(self._cluster, CLONE_NEWNET)
        self._links.send(moving_messages(interface, before, after))
        return True


def unused() -> bool:
    """Whether the calling thread's namespace has no socket, and nothing ever went through any of its interfaces."""
    here = Path("/proc/thread-self/net")
    if not (here / "sockstat").read_text().startswith(NO_SOCKET):
        return False
    counts = [line.partition(":")[2].split() for line in (here / "dev").read_text().splitlines()[2:]]
    return all(count == "0" for line in counts for count in line)


@dataclass(frozen=True)
class Cluster:
    """The cluster's namespace in this daemon's hands: a thread that lives in it, and what the holder kept."""

    holder: Holder
    thread: NamespaceThread
    pods: PodMaker
    user_namespace: int | None
    held: Mapping[str, Held]

    def keep_socket(self, name: str, make: Callable[[], socket.socket], *, inside: bool = True) -> socket.socket:
        """The listening socket of that name: the one an earlier daemon had, else a new one (made ``inside``)."""
        held = self.held.get(_SOCKET_PREFIX + name)
        if held is not None and held.descriptor is not None:
            return socket.socket(fileno=held.descriptor)
        made = self.thread.call(make) if inside else make()
        self.holder.put(_SOCKET_PREFIX + name, "", made.fileno())
        return made


def establish(run: Path) -> Cluster:
    """Find the cluster's namespace again, or make it. Raises NotPermitted where this machine does not allow that.

    To be called while the process has one thread: it may have to enter a user namespace for good.
    """
    holder = Holder.find(run)
    if holder is not None:
        held = holder.entries()
        if CLUSTER in held:
            return _adopt(holder, held)
        holder.end()  # its daemon died before there was anything to keep
    return _make(run)


def _adopt(holder: Holder, held: Mapping[str, Held]) -> Cluster:
    user, cluster = held.get(USER), held[CLUSTER].descriptor
    if cluster is None:
        raise NotPermitted(Step.NETWORK_NAMESPACE, "the holder of the cluster's network lost its namespace")
    user_namespace = user.descriptor if user is not None else None
    if user_namespace is not None:
        enter(user_namespace, CLONE_NEWUSER)
    thread = NamespaceThread("cluster")
    thread.call(lambda: enter(cluster, CLONE_NEWNET))
    return Cluster(holder, thread, PodMaker(cluster), user_namespace, held)


def _make(run: Path) -> Cluster:
    made = make_namespaces()
    try:
        holder = Holder.start(run)
    except OSError as error:
        raise NotPermitted(Step.NETWORK_NAMESPACE, str(error)) from error
    if made.user_namespace is not None:
        holder.put(USER, "", made.user_namespace)
    holder.put(CLUSTER, "", made.cluster)
    return Cluster(holder, made.thread, made.pods, made.user_namespace, {})


class Namespaces(NamedTuple):
    """New namespaces, and the threads that live in the cluster's."""

    user_namespace: int | None
    cluster: int
    thread: NamespaceThread
    pods: PodMaker


def make_namespaces() -> Namespaces:
    """Make the cluster's namespace, and try whether a pod's can be joined to it. Raises NotPermitted.

    An ordinary user's process (single-threaded yet) enters a user namespace for that, for good.
    """
    user_namespace, step = None, Step.USER_NAMESPACE
    try:
        if needs_user_namespace():
            become_root_of_own()
            user_namespace = open_namespace("user")
        step = Step.NETWORK_NAMESPACE
        thread = NamespaceThread("cluster")
        cluster = thread.call(_new_cluster_namespace)
        step = Step.ROUTING
        thread.call(_furnish)
        step = Step.INTERFACES
        pods = PodMaker(cluster)
        os.close(pods.thread.call(lambda: pods.make(LAST_POD)))
    except OSError as error:
        raise NotPermitted(step, error.strerror or str(error)) from error
    return Namespaces(user_namespace, cluster, thread, pods)


def _new_cluster_namespace() -> int:
    unshare(CLONE_NEWNET)
    return open_namespace("net")


def _furnish() -> None:
    _configure(_CLUSTER_SETTINGS)
    with contextlib.closing(Netlink(NETLINK_ROUTE)) as links:
        links.send(cluster_messages())
