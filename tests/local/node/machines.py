"""A pod's state machine in a test's hands; invariants are checked after every event."""

from datetime import UTC, datetime, timedelta

from ketch.kube.codec import decode
from ketch.kube.types.core import Pod
from ketch.local.node.pods import events, orders
from ketch.local.node.pods.machine import PodMachine

START = datetime(2026, 1, 1, tzinfo=UTC)


def a_pod(*containers, inits=(), policy="Always", **spec):
    mains = [{"name": "main", "image": "python:3", **each} for each in containers or ({},)]
    return decode(
        Pod,
        {
            "metadata": {"name": "web", "namespace": "default", "uid": "u1", "generation": 1},
            "spec": {
                "containers": mains,
                "initContainers": [{"image": "python:3", **each} for each in inits],
                "restartPolicy": policy,
                "terminationGracePeriodSeconds": 30,
                **spec,
            },
            "status": {"phase": "Pending", "qosClass": "BestEffort"},
        },
    )


def deleted(pod, at, grace):
    raw = pod.to_json()
    raw["metadata"] |= {
        "deletionTimestamp": (at + timedelta(seconds=grace)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "deletionGracePeriodSeconds": grace,
    }
    return decode(Pod, raw)


class Play:
    """Drives a machine and stands for the world: what it orders happens when the test says so."""

    def __init__(self, pod, adopted=None):
        self.now = START
        self.pod = pod
        self.machine = PodMachine(pod, "192.0.2.1", START, adopted)
        self.all = []
        self.wake = None
        self.status = self.machine.reported
        self.last = []
        self.failed_starts = 0

    def feed(self, event):
        self.failed_starts += isinstance(event, events.StartFailed)
        self.last = self.machine.handle(event, self.now)
        for order in self.last:
            self.all.append(order)
            if isinstance(order, orders.Wake):
                self.wake = order.at
            if isinstance(order, orders.ReportStatus):
                self.status = order.status
        self.check()
        return self.last

    def check(self):
        """What holds whatever happens."""
        started = self.of(orders.StartContainer)
        assert len(started) - len(set(started)) <= self.failed_starts
        assert sum(isinstance(order, orders.Forget) for order in self.all) <= 1
        assert sum(isinstance(order, orders.RemovePod) for order in self.all) <= 1
        terminal = self.status.phase in ("Succeeded", "Failed")
        assert not (terminal and any(each.alive for each in self.machine.containers))
        released = any(isinstance(order, orders.Release) for order in self.all)
        assert not (released and any(each.alive for each in self.machine.containers))
        wake = [order for order in self.last if isinstance(order, orders.Wake)]
        assert all(order.at > self.now for order in wake)

    def of(self, kind):
        return [order for order in self.all if isinstance(order, kind)]

    def fresh(self, kind):
        return [order for order in self.last if isinstance(order, kind)]

    def begin(self):
        """Until containers may start."""
        self.feed(events.PodChanged(self.pod))
        for image in self.machine.images:
            self.feed(events.ImageReady(image, "sha256:1"))
        self.feed(events.VolumesReady())
        return self.feed(events.NetworkAttached("10.244.0.5"))

    def started(self, name="main"):
        return self.feed(events.ContainerStarted(name, self.machine.container(name).attempt, self.now))

    def exited(self, code=0, name="main", reason=None):
        reason = reason or ("Completed" if code == 0 else "Error")
        return self.feed(events.ContainerExited(name, self.machine.container(name).attempt, code, reason, self.now))

    def after(self, seconds):
        """Let time pass, waking the machine whenever it asked for it."""
        until = self.now + timedelta(seconds=seconds)
        issued = []
        while self.wake is not None and self.wake <= until:
            self.now, self.wake = self.wake, None
            issued += self.feed(events.TimerDue())
        self.now = until
        return issued

    def probed(self, kind, success, message="no"):
        each = self.machine.container("main")
        return self.feed(events.ProbeDone("main", each.attempt, kind, success, message))

    @property
    def reasons(self):
        return [(order.reason, order.message) for order in self.of(orders.Announce)]

    def state(self, name="main"):
        statuses = (*self.status.init_container_statuses, *self.status.container_statuses)
        return next(each for each in statuses if each.name == name)

    def condition(self, kind):
        return next(each for each in self.status.conditions if each.type == kind)
