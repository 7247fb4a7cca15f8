"""Every manifest in ``manifests``, applied by kubectl: what must become of it stands in its head.

All that were chosen run side by side on one platform, each in a namespace of its own, so that only the test that asks
first takes its time.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from kubernetes import client as kubernetes
from kubernetes import config as kubernetes_config
from tests.e2e.platforms import Platform
from tests.e2e.training.declared import MANIFESTS, Manifest, Step
from tests.e2e.training.worlds import World, differences

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

AT_ONCE = 10
PATIENCE = 90.0
EVERY = 0.25


class Stage:
    """All chosen manifests on one platform."""

    def __init__(self, platform: Platform, manifests: list[Manifest]) -> None:
        self._platform = platform
        self._api = kubernetes_config.new_client_from_config(str(platform.kubeconfig))
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._runs = {str(each): self._pool.submit(self._run, each) for each in manifests}

    def result(self, manifest: Manifest) -> None:
        """Raises what went wrong."""
        if problem := self._runs[str(manifest)].result():
            pytest.fail(f"{manifest.path}: {manifest.shows}\n{problem}", pytrace=False)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._api.close()

    def _run(self, manifest: Manifest) -> str:
        """What went wrong."""
        core = kubernetes.CoreV1Api(self._api)
        core.create_namespace({"metadata": {"name": manifest.namespace}})
        world = World(self._api, manifest.namespace)
        try:
            applied = self._platform.kubectl_result("apply", "-n", manifest.namespace, "-f", str(manifest.path))
            problem = f"not applied: {applied.stderr}" if applied.returncode else ""
            for number, step in enumerate(manifest.steps):
                problem = problem or self._carried_out(world, step, f"step {number + 1}")
        finally:
            core.delete_namespace(manifest.namespace)
        return problem

    def _carried_out(self, world: World, step: Step, where: str) -> str:
        """What of a step went wrong."""
        for command in step.commands:
            result = self._platform.kubectl_result(*command, "-n", world.namespace)
            missing = [words for words in step.refused if words not in result.stderr]
            if bool(result.returncode) != bool(step.refused) or missing:
                return f"{where}: {command}: {result.stdout}{result.stderr}, wanted {step.refused or 'no refusal'}"
        deadline = time.monotonic() + PATIENCE
        while found := differences(world, step.see):
            if time.monotonic() > deadline:
                return f"{where}, not within {PATIENCE:.0f} s:\n" + "\n".join(found)
            time.sleep(EVERY)
        return ""


@pytest.fixture(scope="module")
def stage(platform: Platform, request: pytest.FixtureRequest) -> Iterator[Stage]:
    items = (item for item in request.session.items if item.path == request.node.path)
    chosen = [item.callspec.params["manifest"] for item in items if isinstance(item, pytest.Function)]
    stage = Stage(platform, chosen)
    yield stage
    stage.close()


@pytest.mark.parametrize("manifest", MANIFESTS, ids=str)
def test_it_becomes_what_its_head_says(stage: Stage, manifest: Manifest):
    stage.result(manifest)
