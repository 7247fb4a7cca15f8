"""What pods use, from metrics.k8s.io into their jobs' statuses; and nothing where there is no such API."""

from pathlib import Path
from typing import Any

from tests.playing import NAMESPACE, a_world
from tests.training.jobs.builders import BY_NAME, a_job

from ketch.kube.errors import NotFound
from ketch.kube.meta import ObjectKey
from ketch.kube.types.pods import Pod
from ketch.training.jobs.types import JAXJob
from ketch.training.progress.recorder import ProgressRecorder
from ketch.training.progress.types import PodUsage
from ketch.training.progress.usage import PERIOD, PERIOD_WITHOUT_METRICS, UsageSampler, usage_of
from ketch.training.reporters import job_of
from ketch.training.setup import setup


def measurement(pod: str, *containers: tuple[str, str]) -> dict[str, Any]:
    return {
        "metadata": {"name": pod, "namespace": NAMESPACE},
        "containers": [{"name": str(n), "usage": {"cpu": c, "memory": m}} for n, (c, m) in enumerate(containers)],
    }


def test_a_pod_uses_what_its_containers_use():
    found = usage_of([measurement("a", ("250m", "100Mi"), ("1500000n", "28Mi")), measurement("b")])
    assert found[ObjectKey(NAMESPACE, "a")] == PodUsage(pod="a", cpu="252m", memory="128Mi")
    assert found[ObjectKey(NAMESPACE, "b")] == PodUsage(pod="b", cpu="0m", memory="0")


class Measured:
    """A cluster with measurements; with none it has no such API."""

    items: list[dict[str, Any]] | None = None

    async def request(self, method: str, path: str) -> Any:
        assert (method, path) == ("GET", "/apis/metrics.k8s.io/v1beta1/pods")
        if self.items is None:
            raise NotFound("the server could not find the requested resource")
        return {"items": self.items}


async def test_running_pods_are_measured_until_they_have_ended(tmp_path: Path):
    async with a_world(tmp_path, setup) as world:
        kinds = list(BY_NAME.values())
        pods, jobs = world.manager.informer(Pod), world.manager.informer(JAXJob)
        recorder = ProgressRecorder(world.client, world.clock)

        cluster: Any = Measured()
        sampler = UsageSampler(cluster, world.clock, pods, [jobs], job_of(kinds), recorder)

        async def usage() -> list[tuple[str, str | None]]:
            job = await world.get(JAXJob, "job")
            assert job is not None
            return [(each.pod, each.cpu) for each in job.status.usage]

        await world.client.create(a_job("JAXJob", Worker=2))
        await world.settle()
        assert await sampler.look() == PERIOD
        assert await usage() == []
        await world.play_all()
        assert await sampler.look() == PERIOD_WITHOUT_METRICS
        assert await usage() == []
        cluster.items = [measurement("job-worker-0", ("500m", "1Gi")), measurement("other", ("1", "1Gi"))]
        assert await sampler.look() == PERIOD
        assert await usage() == [("job-worker-0", "500m")]
        await world.play_all("Succeeded")
        await world.clock.advance(1)  # two writes of one job are kept apart
        await sampler.look()
        assert await usage() == []
