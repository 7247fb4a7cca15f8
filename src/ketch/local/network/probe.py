"""Tries what an isolated network needs, and prints as JSON what failed: ``python -m ketch.local.network.probe``."""

import contextlib
import json
import os
import sys

from ketch.local.network.cluster import make_namespaces
from ketch.local.network.namespaces import NotPermitted, Step
from ketch.local.network.netlink import NETLINK_NETFILTER, Netlink
from ketch.local.network.services import KernelServices
from ketch.local.network.wire import ServiceEntry

_ENTRY = ServiceEntry("10.96.0.2", 1, "TCP", (("10.244.0.2", 1),))


def _translate() -> None:
    with contextlib.closing(Netlink(NETLINK_NETFILTER)) as netlink:
        KernelServices(netlink).set([_ENTRY])


def failures() -> dict[str, str]:
    """The step that failed, with the kernel's word; empty when all is well. The process is spoilt afterwards."""
    try:
        thread = make_namespaces().thread
    except NotPermitted as error:
        return {error.step: error.why}
    try:
        thread.call(_translate)
    except OSError as error:
        return {Step.TRANSLATION: error.strerror or str(error)}
    return {}


if __name__ == "__main__":
    json.dump(failures(), sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # the namespaces' threads need no farewell
