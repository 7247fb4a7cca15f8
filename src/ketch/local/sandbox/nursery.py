"""Containers' first processes, made before anyone asks: those that find a warm interpreter ready find a place, too.

The nursery is the template's parent. It makes inits (``warm``) that wait for a request at its socket, as many as have
been taken; those that wait end with it, those that have a container live on.
"""

import os
import select
import signal
import socket

from ketch.local.processes import boot
from ketch.local.sandbox.namespaces import CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, fork_into
from ketch.local.sandbox.template import END as END_TEMPLATE
from ketch.local.sandbox.warm import END, PID_BYTES, STUCK, Nest, live

WAITING = 3
"""Inits that wait at most: so many containers may start at once without waiting for a fork."""

MOST_FAILURES = 20
"""Inits that ended before anyone asked for them, one after the other: there will be none."""

OWN = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS


class Nursery:
    """Serves the template's containers until the template ends."""

    def __init__(self, template: int, way: socket.socket, nest: Nest, told: int) -> None:
        self._template = os.pidfd_open(template)
        self._way = way
        self._nest = nest
        self._told = told
        self._waiting: dict[int, int] = {}
        self._failures = 0
        self._poll = select.poll()
        for number in (self._template, told):
            self._poll.register(number, select.POLLIN)

    def serve(self) -> None:
        """Return when the template has ended, or cannot be used."""
        boot()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # inits that end leave nothing to wait for
        while self._failures < MOST_FAILURES:
            while len(self._waiting) < WAITING and self._failures < MOST_FAILURES:
                self._make()
            for number, _ in self._poll.poll():
                if number == self._template:
                    return
                if number == self._told:
                    self._hear()
                elif number in self._waiting:
                    self._failures += 1
                    self._forget(number)

    def _make(self) -> None:
        pid = fork_into(OWN)
        if pid == 0:
            live(self._nest)
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._failures += 1
            return
        self._waiting[descriptor] = pid
        self._poll.register(descriptor, select.POLLIN)

    def _forget(self, descriptor: int) -> None:
        del self._waiting[descriptor]
        self._poll.unregister(descriptor)
        os.close(descriptor)

    def _hear(self) -> None:
        word = os.read(self._told, 1 + PID_BYTES)
        pid = int.from_bytes(word[1:], "big")
        self._failures = 0
        for descriptor in [each for each, waiting in self._waiting.items() if waiting == pid]:
            self._forget(descriptor)
        if word[:1] == STUCK:
            signal.pidfd_send_signal(self._template, signal.SIGKILL)
        elif word[:1] == END:
            self._way.send(END_TEMPLATE)
