"""What users do meanwhile: objects written and deleted, pods that end, pods that are deleted, pipeline runs.

Each worker remembers what the platform has acknowledged. Of a call that failed nothing is known: its object may be
there or not, and nobody asks for it.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import kfp
import kfp_server_api
import urllib3
from kfp import dsl
from kubernetes import client as kubernetes
from kubernetes import config as kubernetes_config
from tests.e2e.manifests import config_map, pod, shell
from tests.e2e.platforms import Platform

NAMESPACE = "default"
FAILURES = (kubernetes.ApiException, kfp_server_api.ApiException, urllib3.exceptions.HTTPError, OSError)
"""A call that failed because the platform was killed."""

AWAY = 0.2
"""Seconds that a worker waits after a call that failed."""

PAUSE = 0.01
MOST_PODS = 6
"""Pods that have not ended, at a time."""

ENDED = ("SUCCEEDED", "FAILED", "CANCELED")


@dsl.component(base_image="python:3.11")
def add(number: int) -> int:
    return number + 1


@dsl.pipeline(name="chaos")
def chaos(number: int) -> int:
    return add(number=add(number=number).output).output


STEPS = 2


def core_client(platform: Platform) -> kubernetes.CoreV1Api:
    """The official client, which does not ask a second time by itself."""
    settings = kubernetes.Configuration()
    kubernetes_config.load_kube_config(str(platform.kubeconfig), client_configuration=settings)
    settings.retries = urllib3.Retry(0)
    return kubernetes.CoreV1Api(kubernetes.ApiClient(settings))


@dataclass
class Acknowledged:
    """What the platform said was done."""

    objects: dict[str, str] = field(default_factory=dict[str, str])
    objects_deleted: set[str] = field(default_factory=set[str])
    pods: dict[str, int] = field(default_factory=dict[str, int])
    """The exit code of each."""

    pods_deleted: set[str] = field(default_factory=set[str])
    runs: list[str] = field(default_factory=list[str])
    uids: set[str] = field(default_factory=set[str])
    calls: int = 0
    refused: int = 0


class Load:
    """Workers on threads, from ``with`` to its end."""

    def __init__(self, platform: Platform, seed: int, package: Path) -> None:
        self.acknowledged = Acknowledged()
        self.errors: list[Exception] = []
        self.core = core_client(platform)
        self.pipelines = kfp.Client(host=platform.address)
        self._package = package
        self._stop = threading.Event()
        works = (self._write_objects, self._run_pods, self._run_pipelines)
        self._threads = [
            threading.Thread(target=self._repeat, args=(work, random.Random(seed + number)))
            for number, work in enumerate(works)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, work: Callable[[random.Random, int], None], chance: random.Random) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                work(chance, number)
            except Exception as error:  # noqa: BLE001  # told by the test
                self.errors.append(error)
                return

    def _asked(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What the platform answered; None when it did not."""
        self.acknowledged.calls += 1
        try:
            return call(*arguments, **options)
        except FAILURES:
            self.acknowledged.refused += 1
            self._stop.wait(AWAY)
            return None

    def _write_objects(self, chance: random.Random, number: int) -> None:
        kept = self.acknowledged.objects
        name, value = f"written-{number}", str(chance.random())
        if self._asked(self.core.create_namespaced_config_map, NAMESPACE, config_map(name, value=value)):
            kept[name] = value
        if number % 3 == 0 and kept:
            old = chance.choice(list(kept))
            del kept[old]  # from now on it may be there or not
            if self._asked(self.core.delete_namespaced_config_map, old, NAMESPACE):
                self.acknowledged.objects_deleted.add(old)
        self._stop.wait(PAUSE)

    def _run_pods(self, chance: random.Random, number: int) -> None:
        """Some end by themselves, some are deleted at any moment of their lives."""
        name, code, lasts = f"pod-{number}", chance.choice((0, 0, 3)), chance.choice((0, 0.1, 0.5, 2))
        limits = {"limits": {"cpu": "1"}} if chance.random() < 0.3 else {}
        script = f"echo {name} | tee /v/file; sleep {lasts}; exit {code}"
        container = shell(script, resources=limits, volumeMounts=[{"name": "v", "mountPath": "/v"}])
        manifest = pod(name, container, volumes=[{"name": "v", "emptyDir": {}}])
        manifest["metadata"]["labels"]["of"] = "load"
        made = self._asked(self.core.create_namespaced_pod, NAMESPACE, manifest)
        if made is None:
            return
        self.acknowledged.uids.add(made.metadata.uid)
        if chance.random() < 0.5:
            self.acknowledged.pods[name] = code
        else:
            self._stop.wait(chance.random())
            if self._asked(self.core.delete_namespaced_pod, name, NAMESPACE):
                self.acknowledged.pods_deleted.add(name)
        while not self._stop.is_set() and self._unfinished() >= MOST_PODS:
            self._stop.wait(AWAY)

    def _unfinished(self) -> int:
        selected = {"label_selector": "of=load", "field_selector": "status.phase!=Succeeded,status.phase!=Failed"}
        listed = self._asked(self.core.list_namespaced_pod, NAMESPACE, **selected)
        return MOST_PODS if listed is None else len(listed.items)

    def _run_pipelines(self, chance: random.Random, number: int) -> None:
        options = {"run_name": f"chaos-{number}", "enable_caching": False}
        arguments = {"number": chance.randrange(100)}
        made = self._asked(self.pipelines.create_run_from_pipeline_package, str(self._package), arguments, **options)
        if made is None:
            return
        self.acknowledged.runs.append(made.run_id)
        while not self._stop.is_set():
            found = self._asked(self.pipelines.get_run, made.run_id)
            if found is not None and found.state in ENDED:
                return
            self._stop.wait(AWAY)
