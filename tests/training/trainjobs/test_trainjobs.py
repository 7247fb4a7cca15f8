"""TrainJobs over the real API server with real JobSet and Job controllers: what comes of runtime and job."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.playing import World, a_world

from ketch.kube.codec import decode
from ketch.kube.errors import Invalid
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectKey
from ketch.kube.types.core import ConfigMap
from ketch.kube.types.podgroups import POD_GROUP_LABEL, PodGroup
from ketch.kube.types.pods import Pod
from ketch.local import scheduler
from ketch.local.workloads.collection import garbage
from ketch.local.workloads.collection.monitor import Monitor
from ketch.local.workloads.jobs import reconciler as jobs
from ketch.training.jobsets.types import JobSet
from ketch.training.setup import admissions, setup
from ketch.training.trainjobs.types import ClusterTrainingRuntime, TrainingRuntime, TrainJob

KEY = ObjectKey("default", "job")


def collect_garbage(manager: Manager) -> None:
    monitor = Monitor(manager)
    garbage.setup(manager, monitor)
    manager.add(monitor.run)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, jobs.setup, setup, collect_garbage, admissions=admissions()) as made:
        yield made


def a_trainjob(name: str = "job", runtime: str = "torch-distributed", **spec: Any) -> TrainJob:
    raw = {"metadata": {"name": name, "namespace": "default"}, "spec": {"runtimeRef": {"name": runtime}, **spec}}
    return decode(TrainJob, raw)


def a_runtime(name: str = "mine", **spec: Any) -> TrainingRuntime:
    def step(kind: str, container: str, *mounts: str, **more: Any) -> dict[str, Any]:
        mounted = [{"name": each, "mountPath": "/workspace"} for each in mounts]
        main = {"name": container, "image": "python:3.11", "volumeMounts": mounted}
        volumes = [{"name": each, "emptyDir": {}} for each in mounts]
        pod = {"spec": {"containers": [main], "volumes": volumes, "restartPolicy": "Never"}}
        labels = {"trainer.kubeflow.org/trainjob-ancestor-step": kind}
        template = {"metadata": {"labels": labels}, "spec": {"backoffLimit": 0, "template": pod}}
        return {"name": container, "template": template, **more}

    ready = [{"name": "dataset-initializer", "status": "Complete"}]
    steps = [
        step("dataset-initializer", "dataset-initializer", "initializer"),
        step("trainer", "node", dependsOn=ready),
    ]
    template = {"spec": {"replicatedJobs": steps}}
    raw = {"metadata": {"name": name, "namespace": "default"}, "spec": {"template": template, **spec}}
    return decode(TrainingRuntime, raw)


async def create(world: World, job: Any) -> None:
    await world.client.create(job)
    await world.settle()


async def the_job(world: World) -> TrainJob:
    found = await world.get(TrainJob, "job")
    assert found is not None
    return found


async def pods(world: World) -> list[Pod]:
    return sorted(await world.all(Pod), key=lambda each: each.spec.hostname)


def variables(pod: Pod) -> dict[str, str]:
    (container,) = pod.spec.containers
    return {each.name: each.value or str(each.value_from) for each in container.env}


async def test_each_node_is_told_of_the_first(world: World):
    trainer = {
        "numNodes": 2,
        "numProcPerNode": 3,
        "command": ["torchrun", "train.py"],
        "env": [{"name": "A", "value": "1"}],
    }
    await create(world, a_trainjob(trainer=trainer))
    first, second = await pods(world)
    assert (first.spec.hostname, second.spec.hostname) == ("job-node-0-0", "job-node-0-1")
    told = variables(second)
    assert {name: told[name] for name in told if not name.endswith(("RANK", "INDEX"))} == {
        "A": "1",
        "PET_NNODES": "2",
        "PET_NPROC_PER_NODE": "3",
        "PET_MASTER_ADDR": "job-node-0-0.job",
        "PET_MASTER_PORT": "29500",
    }
    assert "batch.kubernetes.io/job-completion-index" in told["PET_NODE_RANK"]
    (container,) = first.spec.containers
    assert (container.image, container.command) == (
        "pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime",
        ("torchrun", "train.py"),
    )
    assert (await the_job(world)).status.conditions == ()


async def test_it_completes_and_fails_with_its_jobset(world: World):
    await create(world, a_trainjob(trainer={"numNodes": 2}))
    await world.play_all("Running")
    (step,) = (await the_job(world)).status.jobs_status
    assert (step.name, step.ready, step.active) == ("node", 1, 1)
    await world.play_all("Succeeded")
    (condition,) = (await the_job(world)).status.conditions
    assert (condition.type, condition.status, condition.reason) == ("Complete", "True", "AllJobsCompleted")
    assert await world.settles("training-trainjobs", KEY)


async def test_a_failed_step_fails_it(world: World):
    await world.client.create(a_runtime())
    await create(world, a_trainjob(runtime="mine", runtimeRef={"name": "mine", "kind": "TrainingRuntime"}))
    await world.play_all("Failed")
    (condition,) = (await the_job(world)).status.conditions
    assert (condition.type, condition.reason) == ("Failed", "FailedJobs")


async def test_initializers_come_first_and_know_where_from(world: World):
    await world.client.create(a_runtime())
    source = {"storageUri": "hf://data/set", "env": [{"name": "X", "value": "y"}], "secretRef": {"name": "token"}}
    reference = {"name": "mine", "kind": "TrainingRuntime"}
    await create(world, a_trainjob(runtimeRef=reference, initializer={"dataset": source}))
    (first,) = await pods(world)
    told = variables(first)
    assert (told["STORAGE_URI"], told["X"]) == ("hf://data/set", "y")
    (container,) = first.spec.containers
    assert container.env_from[0].secret_ref is not None
    assert container.env_from[0].secret_ref.name == "token"
    await world.play_all("Succeeded")
    assert [each.spec.hostname for each in await pods(world)] == ["job-dataset-initializer-0-0", "job-node-0-0"]


async def test_patches_have_the_last_word(world: World):
    container = {"name": "node", "env": [{"name": "A", "value": "patched"}]}
    pod = {"spec": {"nodeSelector": {"disk": "fast"}, "containers": [container]}}
    replicated = {"name": "node", "template": {"spec": {"template": {"metadata": {"labels": {"l": "v"}}, **pod}}}}
    patch = {"manager": "me", "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [replicated]}}}}
    trainer = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    await create(world, a_trainjob(trainer=trainer, runtimePatches=[patch]))
    (made,) = await pods(world)
    told = variables(made)
    assert (told["A"], told["B"], made.spec.node_selector, made.metadata.labels["l"]) == (
        "patched",
        "2",
        {"disk": "fast"},
        "v",
    )


async def test_overrides_of_pod_templates_come_before_patches(world: World):
    container = {"name": "node", "env": [{"name": "A", "value": "overridden"}, {"name": "B", "value": "overridden"}]}
    override = {
        "targetJobs": [{"name": "node"}],
        "metadata": {"labels": {"l": "v"}},
        "spec": {"nodeSelector": {"disk": "fast"}, "containers": [container]},
    }
    pod = {"spec": {"containers": [{"name": "node", "env": [{"name": "A", "value": "patched"}]}]}}
    replicated = {"name": "node", "template": {"spec": {"template": pod}}}
    patch = {"manager": "me", "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [replicated]}}}}
    await create(world, a_trainjob(podTemplateOverrides=[override], runtimePatches=[patch]))
    (made,) = await pods(world)
    told = variables(made)
    assert (told["A"], told["B"]) == ("patched", "overridden")
    assert (made.spec.node_selector, made.metadata.labels["l"]) == ({"disk": "fast"}, "v")


@pytest.mark.parametrize(
    ("targets", "field"), [([], "targetJobs"), ([{"name": "nobody"}], "targetJobs[0].name")], ids=["nobody", "unknown"]
)
async def test_overrides_say_of_which_jobs(world: World, targets: list[Any], field: str):
    with pytest.raises(Invalid) as caught:
        await create(world, a_trainjob(podTemplateOverrides=[{"targetJobs": targets}]))
    assert [each.field for each in caught.value.details.causes] == [f"spec.podTemplateOverrides[0].{field}"]


async def test_patches_say_since_when_they_are_what_they_are(world: World):
    def patch(manager: str, label: str) -> dict[str, Any]:
        return {"manager": manager, "trainingRuntimeSpec": {"template": {"metadata": {"labels": {"l": label}}}}}

    async def times() -> list[Any]:
        return [each.time for each in (await the_job(world)).spec.runtime_patches]

    await create(world, a_trainjob(suspend=True, runtimePatches=[patch("me", "a"), patch("you", "b")]))
    begun = world.now().replace(microsecond=0)
    assert await times() == [begun, begun]
    await world.pass_time(60)
    await world.edit(TrainJob, "job", {"spec": {"runtimePatches": [patch("me", "a"), patch("you", "c")]}})
    changed = world.now().replace(microsecond=0)
    assert await times() == [begun, changed]
    await world.pass_time(60)
    await world.edit(TrainJob, "job", {"metadata": {"labels": {"l": "v"}}})
    assert await times() == [begun, changed]


async def test_suspended_it_waits_and_may_be_patched(world: World):
    await create(world, a_trainjob(suspend=True))
    assert await pods(world) == []
    assert [(each.type, each.status) for each in (await the_job(world)).status.conditions] == [("Suspended", "True")]
    await world.edit(TrainJob, "job", {"spec": {"suspend": False}})
    await world.settle()
    assert len(await pods(world)) == 1
    assert [(each.type, each.status) for each in (await the_job(world)).status.conditions] == [("Suspended", "False")]


async def test_it_is_suspended_while_it_runs_and_goes_on_as_patched(world: World):
    await create(world, a_trainjob())
    await world.play_all("Running")
    container = {"name": "node", "env": [{"name": "AGAIN", "value": "yes"}]}
    spec = {"nodeSelector": {"disk": "fast"}, "containers": [container]}
    pod = {"template": {"spec": {"template": {"spec": spec}}}}
    change = {"template": {"spec": {"replicatedJobs": [{"name": "node", **pod}]}}}
    patches = [{"manager": "example.com/test", "trainingRuntimeSpec": change}]
    await world.edit(TrainJob, "job", {"spec": {"suspend": True, "runtimePatches": patches}})

    async def gone() -> bool:
        await world.play_all("Running")  # the node lets go of what is to be deleted
        return await pods(world) == []

    await world.until(gone)
    await world.edit(TrainJob, "job", {"spec": {"suspend": False}})
    await world.settle()

    async def one() -> bool:
        return len(await pods(world)) == 1

    await world.until(one)
    (found,) = await pods(world)
    assert found.spec.node_selector == {"disk": "fast"}
    assert variables(found)["AGAIN"] == "yes"
    assert [(each.type, each.status) for each in (await the_job(world)).status.conditions] == [("Suspended", "False")]


async def test_its_nodes_are_placed_together_if_the_runtime_says_so(tmp_path: Path):
    async with a_world(tmp_path, scheduler.setup, jobs.setup, setup, admissions=admissions()) as world:
        policy = {"coscheduling": {"scheduleTimeoutSeconds": 30}}
        await world.client.create(a_runtime(podGroupPolicy=policy, mlPolicy={"numNodes": 3}))
        await create(world, a_trainjob(runtimeRef={"name": "mine", "kind": "TrainingRuntime"}))
        group = await world.get(PodGroup, "job")
        assert group is not None
        assert (group.spec.min_member, group.spec.schedule_timeout_seconds) == (3, 30)
        jobset = await world.get(JobSet, "job")
        assert jobset is not None
        labels = [each.template.spec.template.metadata.labels for each in jobset.spec.replicated_jobs]
        assert [each.get(POD_GROUP_LABEL) for each in labels] == [None, "job"]  # initializers come before


async def test_a_gang_scheduler_that_is_not_there_is_refused(world: World):
    with pytest.raises(Invalid, match=r"spec\.podGroupPolicy: Unsupported value: \"volcano\""):
        await world.client.create(a_runtime(podGroupPolicy={"volcano": {}}))


async def test_later_edits_of_the_runtime_are_for_later_jobs(world: World):
    await world.client.create(a_runtime())
    reference = {"name": "mine", "kind": "TrainingRuntime"}
    await create(world, a_trainjob(runtimeRef=reference, suspend=True))
    snapshot = await world.get(ConfigMap, "job-runtime-snapshot")
    assert snapshot is not None
    assert len(json.loads(snapshot.data["spec.json"])["template"]["spec"]["replicatedJobs"]) == 2
    await world.edit(TrainingRuntime, "mine", {"spec": {"mlPolicy": {"numNodes": 5}}})
    await world.edit(TrainJob, "job", {"spec": {"suspend": False}})
    await world.settle()
    jobset = await world.get(JobSet, "job")
    assert jobset is not None
    assert [each.template.spec.parallelism for each in jobset.spec.replicated_jobs] == [None, 1]


async def test_the_deadline_fails_it(world: World):
    await create(world, a_trainjob(activeDeadlineSeconds=60))
    await world.play_all("Running")
    await world.pass_time(61)
    (condition,) = (await the_job(world)).status.conditions
    assert (condition.type, condition.reason) == ("Failed", "DeadlineExceeded")
    await world.until(lambda: _no_pods(world))


async def _no_pods(world: World) -> bool:
    return await pods(world) == []


async def test_a_deleted_job_takes_all_along(world: World):
    await create(world, a_trainjob())
    await world.delete(TrainJob, "job")
    await world.until(lambda: _no_pods(world))
    assert await world.get(JobSet, "job") is None


async def test_runtimes_of_upstream_s_names_are_there(world: World):
    assert {each.metadata.name for each in await world.all(ClusterTrainingRuntime)} >= {
        "torch-distributed",
        "jax-distributed",
        "xgboost-distributed",
    }


@pytest.mark.parametrize(
    ("job", "field"),
    [
        pytest.param(a_trainjob(runtime="nowhere"), "spec.runtimeRef.name", id="no such runtime"),
        pytest.param(a_trainjob(runtime=""), "spec.runtimeRef.name", id="no runtime"),
        pytest.param(a_trainjob(name="1"), "metadata.name", id="a name that no host can have"),
        pytest.param(a_trainjob(trainer={"numNodes": 0}), "spec.trainer.numNodes", id="no nodes"),
        pytest.param(
            a_trainjob(trainer={"env": [{"name": "PET_NNODES", "value": "1"}]}),
            "spec.trainer.env[0].name",
            id="what the runtime sets",
        ),
        pytest.param(
            a_trainjob(initializer={"dataset": {"storageUri": "nonsense"}}),
            "spec.initializer.dataset.storageUri",
            id="no URI",
        ),
        pytest.param(a_trainjob(managedBy="me"), "spec.managedBy", id="unknown manager"),
    ],
)
async def test_a_wrong_job_is_refused_by_its_field(world: World, job: TrainJob, field: str):
    with pytest.raises(Invalid) as caught:
        await world.client.create(job)
    assert [cause.field for cause in caught.value.details.causes] == [field]


@pytest.mark.parametrize(
    "change",
    [
        {"trainer": {"numNodes": 3}},
        {"runtimeRef": {"name": "jax-distributed"}},
        {"activeDeadlineSeconds": 5},
        {"runtimePatches": [{"manager": "me"}]},
    ],
)
async def test_what_runs_does_not_change(world: World, change: dict[str, Any]):
    await create(world, a_trainjob())
    with pytest.raises(Invalid):
        await world.edit(TrainJob, "job", {"spec": change})
