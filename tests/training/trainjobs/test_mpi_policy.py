"""TrainJobs under the MPI policy over the real API server with real JobSet and Job controllers. Pods are played."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.playing import World, a_world

from ketch.kube.codec import decode
from ketch.kube.errors import Invalid
from ketch.kube.types.core import ConfigMap, Secret
from ketch.kube.types.podgroups import POD_GROUP_LABEL, PodGroup
from ketch.kube.types.pods import Pod
from ketch.local import scheduler
from ketch.local.workloads.jobs import reconciler as jobs
from ketch.training.setup import admissions, setup
from ketch.training.trainjobs.types import ClusterTrainingRuntime, TrainingRuntime, TrainJob

RUNTIME = "deepspeed-distributed"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, jobs.setup, setup, admissions=admissions()) as made:
        yield made


async def create(world: World, runtime: str = RUNTIME, kind: str = "ClusterTrainingRuntime", **trainer: Any) -> None:
    spec = {"runtimeRef": {"name": runtime, "kind": kind}, "trainer": trainer}
    await world.client.create(decode(TrainJob, {"metadata": {"name": "job", "namespace": "default"}, "spec": spec}))
    await world.settle()


async def pods(world: World) -> dict[str, Pod]:
    return {each.spec.hostname: each for each in await world.all(Pod)}


def variables(pod: Pod) -> dict[str, str]:
    return {each.name: each.value for each in pod.spec.containers[0].env}


async def hostfile(world: World) -> str:
    found = await world.get(ConfigMap, "job-mpi-hostfile")
    assert found is not None
    return found.data["hostfile"]


def a_runtime(name: str = "mine", *, launcher: bool = True, **spec: Any) -> TrainingRuntime:
    """One of a user's own, with a launcher or without."""

    def step(step_name: str, ancestor: str = "") -> dict[str, Any]:
        labels = {"trainer.kubeflow.org/trainjob-ancestor-step": ancestor} if ancestor else {}
        pod = {"spec": {"containers": [{"name": "node", "image": "mpi", "command": ["serve"]}]}}
        return {"name": step_name, "template": {"metadata": {"labels": labels}, "spec": {"template": pod}}}

    steps = [step("node"), step("launcher", "trainer")] if launcher else [step("node", "trainer")]
    raw = {"metadata": {"name": name, "namespace": "default"}}
    return decode(TrainingRuntime, {**raw, "spec": {"template": {"spec": {"replicatedJobs": steps}}, **spec}})


async def test_the_launcher_follows_its_nodes_and_is_the_first_of_them(world: World):
    await create(world, numNodes=3, numProcPerNode=2, command=["mpirun", "train"], env=[{"name": "A", "value": "1"}])
    assert sorted(await pods(world)) == ["job-node-0-0", "job-node-0-1"]
    await world.play_all("Running")
    found = await pods(world)
    assert sorted(found) == ["job-launcher-0-0", "job-node-0-0", "job-node-0-1"]
    assert await hostfile(world) == (
        "job-launcher-0-0.job slots=2\njob-node-0-0.job slots=2\njob-node-0-1.job slots=2\n"
    )
    launcher, node = found["job-launcher-0-0"].spec.containers[0], found["job-node-0-0"].spec.containers[0]
    assert (launcher.command, node.command) == (("mpirun", "train"), ("/usr/sbin/sshd",))
    assert node.args == ("-De", "-f", "/home/mpiuser/.sshd_config")
    assert variables(found["job-node-0-0"])["A"] == variables(found["job-launcher-0-0"])["A"] == "1"


async def test_the_launcher_is_told_of_hosts_and_keys(world: World):
    await create(world, numNodes=2, numProcPerNode=4)
    await world.play_all("Running")
    launcher, node = (await pods(world))["job-launcher-0-0"], (await pods(world))["job-node-0-0"]
    told = variables(launcher)
    assert told["OMPI_MCA_orte_default_hostfile"] == "/etc/mpi/hostfile"
    assert told["OMPI_MCA_orte_keep_fqdn_hostnames"] == "true"
    assert told["OMPI_MCA_orte_set_default_slots"] == "4"
    assert told["OMPI_MCA_plm_rsh_args"] == "-o ConnectionAttempts=10"
    assert "OMPI_MCA_orte_default_hostfile" not in variables(node)
    mounts = {each.name: each.mount_path for each in launcher.spec.containers[0].volume_mounts}
    assert (mounts["mpi-ssh-auth"], mounts["mpi-hostfile"]) == ("/home/mpiuser/.ssh", "/etc/mpi")
    source = next(each.secret for each in node.spec.volumes if each.name == "mpi-ssh-auth")
    assert source is not None
    assert (source.secret_name, source.default_mode) == ("job-mpi-ssh-auth", 0o640)
    assert [each.path for each in source.items] == ["id_rsa", "id_rsa.pub", "authorized_keys"]
    assert "mpi-hostfile" not in {each.name for each in node.spec.volumes}


async def test_keys_are_made_once(world: World):
    await create(world, numNodes=2)
    secret = await world.get(Secret, "job-mpi-ssh-auth")
    assert secret is not None
    assert (secret.type, secret.immutable) == ("kubernetes.io/ssh-auth", True)
    assert base64.b64decode(secret.data["ssh-publickey"]).startswith(b"ecdsa-sha2-nistp521 ")
    await world.edit(TrainJob, "job", {"spec": {"suspend": True}})
    await world.settle()
    await world.edit(TrainJob, "job", {"spec": {"suspend": False}})
    await world.settle()
    again = await world.get(Secret, "job-mpi-ssh-auth")
    assert again is not None
    assert again.data == secret.data


async def test_one_node_is_the_launcher_alone(world: World):
    """The nodes' Job needs a pod, so that the launcher may begin; nothing is started in it."""
    await create(world)
    await world.play_all("Running")
    assert sorted(await pods(world)) == ["job-launcher-0-0", "job-node-0-0"]
    assert await hostfile(world) == "job-launcher-0-0.job slots=1\n"


async def test_a_job_completes_with_its_launcher(world: World):
    await create(world, numNodes=2)
    await world.play_all("Running")
    await world.play_all("Running")
    await world.play((await pods(world))["job-launcher-0-0"], "Succeeded")
    await world.settle()
    job = await world.get(TrainJob, "job")
    assert job is not None
    assert [(each.type, each.status) for each in job.status.conditions] == [("Complete", "True")]


async def test_a_launcher_that_only_launches_is_no_host(world: World):
    await world.client.create(a_runtime(mlPolicy={"numNodes": 2, "mpi": {"numProcPerNode": 1}}))
    await create(world, "mine", "TrainingRuntime", image="other", resourcesPerNode={"limits": {"nvidia.com/gpu": 2}})
    assert await hostfile(world) == "job-node-0-0.job slots=2\njob-node-0-1.job slots=2\n"
    found = await pods(world)
    assert sorted(found) == ["job-launcher-0-0", "job-node-0-0", "job-node-0-1"]
    assert {each.spec.containers[0].image for each in found.values()} == {"other"}
    assert {str(each.spec.containers[0].resources.limits["nvidia.com/gpu"]) for each in found.values()} == {"2"}


@pytest.mark.parametrize(
    ("implementation", "line", "name"),
    [
        ("Intel", "job-launcher-0-0.job:3", "I_MPI_HYDRA_HOST_FILE"),
        ("MPICH", "job-launcher-0-0.job:3", "HYDRA_HOST_FILE"),
    ],
)
async def test_other_implementations_are_told_in_their_words(world: World, implementation: str, line: str, name: str):
    policy = {"numNodes": 2, "mpi": {"mpiImplementation": implementation, "runLauncherAsNode": True}}
    await world.client.create(a_runtime(mlPolicy=policy))
    await create(world, "mine", "TrainingRuntime", numProcPerNode=3)
    assert (await hostfile(world)).splitlines()[0] == line
    assert variables((await pods(world))["job-launcher-0-0"])[name] == "/etc/mpi/hostfile"


async def test_a_gang_are_the_nodes_for_which_the_launcher_waits(tmp_path: Path):
    async with a_world(tmp_path, jobs.setup, scheduler.setup, setup, admissions=admissions()) as world:
        policy = {"numNodes": 3, "mpi": {"runLauncherAsNode": True}}
        await world.client.create(a_runtime(mlPolicy=policy, podGroupPolicy={"coscheduling": {}}))
        await create(world, "mine", "TrainingRuntime")
        group = await world.get(PodGroup, "job")
        assert group is not None
        assert group.spec.min_member == 2
        found = await pods(world)
        assert {name for name, pod in found.items() if POD_GROUP_LABEL in pod.metadata.labels} == {
            "job-node-0-0",
            "job-node-0-1",
        }


async def test_several_nodes_need_a_launcher_and_nodes(world: World):
    await world.client.create(a_runtime(launcher=False, mlPolicy={"mpi": {"runLauncherAsNode": True}}))
    with pytest.raises(Invalid, match="has not both replicated jobs, launcher and node"):
        await create(world, "mine", "TrainingRuntime", numNodes=2)


async def test_another_s_secret_is_left_alone_and_told_of(world: World):
    raw = {"metadata": {"name": "job-mpi-ssh-auth", "namespace": "default"}, "stringData": {"mine": "yes"}}
    await world.client.create(decode(Secret, raw))
    await create(world, numNodes=2)
    assert await pods(world) == {}
    (told, *_) = await world.events("TrainJobResourcesCreationFailed")
    assert 'Secret "job-mpi-ssh-auth" is there and is not this job\'s' in told


async def test_runtimes_say_what_clients_read(world: World):
    for name, framework in (("deepspeed-distributed", "deepspeed"), ("mlx-distributed", "mlx")):
        runtime = await world.get(ClusterTrainingRuntime, name)
        assert runtime is not None
        assert runtime.metadata.labels["trainer.kubeflow.org/framework"] == framework
        assert runtime.spec.ml_policy is not None
        assert runtime.spec.ml_policy.mpi is not None
        assert runtime.spec.ml_policy.mpi.num_proc_per_node == 1
