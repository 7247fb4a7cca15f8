"""What is counted of training jobs."""

from pathlib import Path

from tests.playing import NAMESPACE, World, a_world
from tests.training.jobs.builders import a_job

from ketch.kube.codec import decode
from ketch.kube.types.pods import Pod
from ketch.local.workloads.jobs import reconciler as jobs
from ketch.training.jobs.types import JAXJob, PyTorchJob
from ketch.training.jobsets.types import JobSet
from ketch.training.setup import setup


def counted(world: World) -> dict[str, str]:
    """Each series with its value."""
    lines = [line for line in world.manager.metrics.text().splitlines() if not line.startswith("#")]
    return dict(line.rsplit(" ", 1) for line in lines)


def of_jobs(word: str, framework: str) -> str:
    return f'training_operator_jobs_{word}_total{{job_namespace="{NAMESPACE}",framework="{framework}"}}'


async def test_jobs_are_counted_under_upstreams_names(tmp_path: Path):
    async with a_world(tmp_path, setup) as world:
        await world.client.create(a_job("PyTorchJob", "good", Master=1))
        await world.client.create(a_job("JAXJob", "bad", Worker=1))
        await world.settle()
        (bad, good) = await world.all(Pod)
        await world.play(good, "Failed")  # OnFailure: it is replaced
        await world.settle()
        (bad, good) = await world.all(Pod)
        await world.play(good, "Succeeded")
        await world.play(bad, "Failed")
        await world.settle()
        await world.delete(JAXJob, "bad")
        await world.delete(PyTorchJob, "good")
        await world.settle()
        found = counted(world)
        assert found[of_jobs("created", "pytorch")] == found[of_jobs("created", "jax")] == "1"
        assert found[of_jobs("restarted", "pytorch")] == found[of_jobs("successful", "pytorch")] == "1"
        assert found[of_jobs("failed", "jax")] == found[of_jobs("deleted", "jax")] == "1"
        assert of_jobs("failed", "pytorch") not in found
        assert int(found['controller_runtime_reconcile_total{controller="training-jaxjobs",result="success"}']) > 0
        assert found['workqueue_depth{name="training-jaxjobs"}'] == "0"


async def test_jobsets_are_counted_by_name_as_long_as_they_are_there(tmp_path: Path):
    async with a_world(tmp_path, jobs.setup, setup) as world:
        pod = {"spec": {"containers": [{"name": "main", "image": "python:3.11"}], "restartPolicy": "Never"}}
        step = {"name": "a", "template": {"spec": {"template": pod, "backoffLimit": 0}}}
        raw = {"metadata": {"name": "set", "namespace": NAMESPACE}, "spec": {"replicatedJobs": [step]}}
        await world.client.create(decode(JobSet, raw))
        await world.settle()
        await world.play_all("Failed")
        series = f'jobset_failed_total{{jobset_name="set",namespace="{NAMESPACE}"}}'
        assert counted(world)[series] == "1"
        await world.delete(JobSet, "set")
        await world.settle()
        assert series not in counted(world)
