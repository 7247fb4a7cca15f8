"""MPIJobs over the real API server with a real Job controller: what exists, what is reported. Pods are played."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from tests.playing import World, a_world
from tests.training.jobs.mpijobs import a_replica, an_mpijob, fetch, post, types

from ketch.kube.errors import Invalid
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.types.batch import Job
from ketch.kube.types.core import ConfigMap, Event, Secret, Service, ServiceAccount
from ketch.kube.types.podgroups import POD_GROUP_LABEL, PodGroup
from ketch.kube.types.pods import Pod
from ketch.kube.types.rbac import Role, RoleBinding
from ketch.local import scheduler
from ketch.local.workloads.collection import garbage
from ketch.local.workloads.collection.monitor import Monitor
from ketch.local.workloads.jobs import reconciler as batch
from ketch.training.jobs.mpi.types import MPIJob, MPIJobV2
from ketch.training.setup import admissions, setup

KEY = ObjectKey("default", "job")
LABEL = "training.kubeflow.org/"


def collect_garbage(manager: Manager) -> None:
    monitor = Monitor(manager)
    garbage.setup(manager, monitor)
    manager.add(monitor.run)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, batch.setup, setup, collect_garbage, admissions=admissions()) as made:
        yield made


async def pods(world: World) -> dict[str, Pod]:
    """By the name that each has for itself."""
    return {each.spec.hostname or each.metadata.name: each for each in await world.all(Pod)}


async def files(world: World) -> Any:
    found = await world.get(ConfigMap, "job-config")
    assert found is not None
    return found.data


async def status(world: World, version: str = "v1") -> Any:
    await world.settle()
    return (await fetch(world, version))["status"]


def variables(pod: Pod) -> dict[str, str]:
    return {each.name: each.value for each in pod.spec.containers[0].env}


async def play(world: World, name: str, phase: str, **more: Any) -> None:
    await world.play((await pods(world))[name], phase, **more)
    await world.settle()


# through exec: kubeflow.org/v1 ---------------------------------------------------------------------------------------


async def test_v1_has_a_launcher_that_may_run_commands_in_its_workers(world: World):
    await post(world, an_mpijob("v1", slotsPerWorker=2))
    assert sorted(await pods(world)) == ["job-launcher", "job-worker-0", "job-worker-1"]
    assert [each.metadata.name for each in await world.all(Service) if each.metadata.name != "kubernetes"] == []
    role, binding = await world.get(Role, "job-launcher"), await world.get(RoleBinding, "job-launcher")
    assert role is not None
    assert binding is not None
    assert [(rule.verbs, rule.resources, rule.resource_names) for rule in role.rules] == [
        (("get", "list", "watch"), ("pods",), ()),
        (("create", "get"), ("pods/exec",), ("job-worker-0", "job-worker-1")),
    ]
    assert [(each.kind, each.name) for each in binding.subjects] == [("ServiceAccount", "job-launcher")]
    assert await world.get(ServiceAccount, "job-launcher") is not None
    assert await files(world) == {
        "hostfile": "job-worker-0 slots=2\njob-worker-1 slots=2\n",
        "kubexec.sh": ('#!/bin/sh\nset -x\nPOD_NAME=$1\nshift\n/opt/kube/kubectl exec ${POD_NAME} -- /bin/sh -c "$*"'),
        "discover_hosts.sh": "#!/bin/sh\n",
    }


async def test_v1_pods_are_dressed_as_the_training_operator_does(world: World):
    await post(world, an_mpijob("v1"))
    launcher, worker = (await pods(world))["job-launcher"], (await pods(world))["job-worker-0"]
    told = variables(launcher)
    assert told["OMPI_MCA_plm_rsh_agent"] == told["PRTE_MCA_plm_ssh_agent"] == "/etc/mpi/kubexec.sh"
    assert told["OMPI_MCA_orte_default_hostfile"] == told["PRTE_MCA_prte_default_hostfile"] == "/etc/mpi/hostfile"
    assert (told["I_MPI_HYDRA_BOOTSTRAP"], told["I_MPI_HYDRA_BOOTSTRAP_EXEC"]) == ("rsh", "/etc/mpi/kubexec.sh")
    assert told["NVIDIA_VISIBLE_DEVICES"] == told["NVIDIA_DRIVER_CAPABILITIES"] == ""
    assert launcher.spec.service_account_name == "job-launcher"
    (delivery,) = launcher.spec.init_containers
    assert (delivery.name, delivery.image) == ("kubectl-delivery", "kubeflow/kubectl-delivery:latest")
    assert {each.name: each.value for each in delivery.env} == {"TARGET_DIR": "/opt/kube", "NAMESPACE": "default"}
    places = {each.name: each.mount_path for each in launcher.spec.containers[0].volume_mounts}
    assert {"mpi-job-kubectl": "/opt/kube", "mpi-job-config": "/etc/mpi"}.items() <= places.items()
    source = next(each.config_map for each in launcher.spec.volumes if each.name == "mpi-job-config")
    assert source is not None
    assert {each.path: each.mode for each in source.items} == {
        "kubexec.sh": 0o555,
        "hostfile": 0o444,
        "discover_hosts.sh": 0o555,
    }
    assert launcher.metadata.labels[f"{LABEL}job-role"] == "master"
    assert (worker.spec.containers[0].command, worker.spec.containers[0].args) == (("sleep",), ("365d",))
    assert worker.metadata.labels[f"{LABEL}operator-name"] == "mpijob-controller"
    assert worker.metadata.labels[f"{LABEL}replica-index"] == "0"
    assert worker.spec.restart_policy == "Never"


async def test_a_launcher_with_a_gpu_is_a_host_of_processes_too(world: World):
    job = an_mpijob("v1")
    gpu = {"resources": {"limits": {"nvidia.com/gpu": 1}, "requests": {"nvidia.com/gpu": 1}}}
    job["spec"]["mpiReplicaSpecs"]["Launcher"] = a_replica(1, first=gpu)
    await post(world, job)
    said = await files(world)
    assert said["hostfile"].startswith("job-launcher slots=1\njob-worker-0 slots=1\n")
    assert said["discover_hosts.sh"] == "#!/bin/sh\necho job-launcher:1\n"
    assert "NVIDIA_VISIBLE_DEVICES" not in variables((await pods(world))["job-launcher"])


async def test_elastic_programs_discover_the_workers_that_run(world: World):
    await post(world, an_mpijob("v1", slotsPerWorker=4))
    await play(world, "job-worker-1", "Running")
    assert (await files(world))["discover_hosts.sh"] == "#!/bin/sh\necho job-worker-1:4\n"
    await play(world, "job-worker-0", "Running")
    assert (await files(world))["discover_hosts.sh"] == "#!/bin/sh\necho job-worker-0:4\necho job-worker-1:4\n"
    more = {"spec": {"mpiReplicaSpecs": {"Worker": {"replicas": 3}}}}
    await world.edit(MPIJob, "job", more)
    await world.settle()
    assert (await files(world))["hostfile"].count("\n") == 3
    role = await world.get(Role, "job-launcher")
    assert role is not None
    assert role.rules[1].resource_names[-1] == "job-worker-2"
    less = {"spec": {"mpiReplicaSpecs": {"Worker": {"replicas": 1}}}}
    await world.edit(MPIJob, "job", less)
    await world.settle()
    assert (await files(world))["discover_hosts.sh"] == "#!/bin/sh\necho job-worker-0:4\n"
    assert await world.settles("training-mpijobs", KEY)


async def test_v1_succeeds_with_its_launcher_and_cleans_up(world: World):
    await post(world, an_mpijob("v1", cleanPodPolicy="Running"))
    await world.play_all("Running")
    assert types(await status(world)) == [("Created", "True"), ("Running", "True")]
    await play(world, "job-launcher", "Succeeded")
    said = await status(world)
    assert types(said) == [("Created", "True"), ("Running", "False"), ("Succeeded", "True")]
    assert said["conditions"][-1]["reason"] == "MPIJobSucceeded"
    assert sorted(await pods(world)) == ["job-launcher"]


async def test_the_exit_code_of_a_rank_reaches_the_job(world: World):
    await post(world, an_mpijob("v1"))
    await world.play_all("Running")
    await play(world, "job-launcher", "Failed", exit_code=17)
    last = (await status(world))["conditions"][-1]
    assert (last["type"], last["reason"]) == ("Failed", "MPIJobFailed")
    assert last["message"] == "MPIJob job is failed because 1 Launcher replica(s) failed: exit code 17."


async def test_a_launcher_that_a_signal_ended_starts_again(world: World):
    job = an_mpijob("v1")
    job["spec"]["mpiReplicaSpecs"]["Launcher"] = a_replica(1, "ExitCode")
    await post(world, job)
    await world.play_all("Running")
    before = (await pods(world))["job-launcher"].metadata.uid
    await play(world, "job-launcher", "Failed", exit_code=137)
    assert (await pods(world))["job-launcher"].metadata.uid != before
    assert types(await status(world)) == [("Created", "True"), ("Restarting", "True")]
    await world.play_all("Running")
    assert types(await status(world)) == [("Created", "True"), ("Running", "True")]


async def test_v1_is_suspended_and_resumed(world: World):
    await post(world, an_mpijob("v1"))
    await world.play_all("Running")
    await world.edit(MPIJob, "job", {"spec": {"runPolicy": {"suspend": True}}})
    assert types(await status(world))[-1] == ("Suspended", "True")
    assert await pods(world) == {}
    await world.edit(MPIJob, "job", {"spec": {"runPolicy": {"suspend": False}}})
    assert types(await status(world))[-1] == ("Suspended", "False")
    assert len(await pods(world)) == 3


async def test_another_s_object_is_left_alone_and_no_pod_is_made(world: World):
    mine = ConfigMap(metadata=ObjectMeta(name="job-config", namespace="default"), data={"hostfile": "mine"})
    await world.client.create(mine)
    await post(world, an_mpijob("v1"))
    assert await pods(world) == {}
    assert (await files(world)) == {"hostfile": "mine"}
    (told,) = await world.events("ErrResourceExists")
    assert told == 'Resource "job-config" of Kind "ConfigMap" already exists and is not managed by MPIJob'
    await world.delete(ConfigMap, "job-config")
    await world.pass_time(31)
    assert len(await pods(world)) == 3


async def test_files_that_were_deleted_come_back(world: World):
    await post(world, an_mpijob("v1"))
    await world.delete(ConfigMap, "job-config")
    await world.settle()
    assert (await files(world))["hostfile"].startswith("job-worker-0")


async def test_what_a_job_needs_goes_with_it(world: World):
    await post(world, an_mpijob("v1"))
    await world.delete(MPIJob, "job")
    await world.settle()
    for kind in (Pod, Role, RoleBinding):
        assert await world.all(kind) == []
    assert await world.get(ConfigMap, "job-config") is None
    assert await world.get(ServiceAccount, "job-launcher") is None


# over ssh: kubeflow.org/v2beta1 --------------------------------------------------------------------------------------


async def test_v2_has_defaults_that_users_read_back(world: World):
    made = await post(world, an_mpijob("v2beta1"))
    spec = made["spec"]
    assert (spec["slotsPerWorker"], spec["sshAuthMountPath"], spec["mpiImplementation"]) == (1, "/root/.ssh", "OpenMPI")
    assert (spec["launcherCreationPolicy"], spec["runLauncherAsWorker"]) == ("AtStartup", False)
    assert (await fetch(world, "v1"))["spec"] == spec
    assert (await fetch(world, "v2beta1"))["apiVersion"] == "kubeflow.org/v2beta1"


async def test_v2_has_a_job_for_its_launcher_a_service_and_keys(world: World):
    await post(world, an_mpijob("v2beta1", slotsPerWorker=2, runPolicy={"backoffLimit": 3}))
    assert sorted(await pods(world)) == ["job-launcher", "job-worker-0", "job-worker-1"]
    launcher = await world.get(Job, "job-launcher")
    assert launcher is not None
    assert launcher.spec.backoff_limit == 3
    service = await world.get(Service, "job")
    assert service is not None
    assert service.spec.cluster_ip == "None"
    assert service.spec.selector == {f"{LABEL}operator-name": "mpi-operator", f"{LABEL}job-name": "job"}
    assert await files(world) == {
        "hostfile": "job-worker-0.job.default.svc slots=2\njob-worker-1.job.default.svc slots=2\n",
        "discover_hosts.sh": "#!/bin/sh\n",
    }
    secret = await world.get(Secret, "job-ssh")
    assert secret is not None
    assert secret.type == "kubernetes.io/ssh-auth"
    private = load_pem_private_key(base64.b64decode(secret.data["ssh-privatekey"]), None)
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    assert base64.b64decode(secret.data["ssh-publickey"]) == public + b"\n"


async def test_v2_pods_are_dressed_as_mpi_operator_does(world: World):
    await post(world, an_mpijob("v2beta1"))
    launcher, worker = (await pods(world))["job-launcher"], (await pods(world))["job-worker-0"]
    told = variables(launcher)
    assert told["K_MPI_JOB_ROLE"] == "launcher"
    assert told["OMPI_MCA_orte_default_hostfile"] == "/etc/mpi/hostfile"
    assert told["OMPI_MCA_plm_rsh_args"] == "-o ConnectionAttempts=10"
    assert (told["OMPI_MCA_orte_keep_fqdn_hostnames"], told["OMPI_MCA_orte_set_default_slots"]) == ("true", "1")
    assert told["NVIDIA_VISIBLE_DEVICES"] == ""
    assert (launcher.spec.subdomain, launcher.spec.restart_policy) == ("job", "OnFailure")
    assert launcher.metadata.labels[f"{LABEL}job-role"] == "launcher"
    assert (worker.spec.hostname, worker.spec.subdomain) == ("job-worker-0", "job")
    assert worker.spec.dns_config is not None
    assert worker.spec.dns_config.searches == ("job.default.svc.cluster.local",)
    assert worker.spec.containers[0].command == ("/usr/sbin/sshd", "-De")
    assert variables(worker) == {"K_MPI_JOB_ROLE": "worker"}
    keys = next(each.secret for each in worker.spec.volumes if each.name == "ssh-auth")
    assert keys is not None
    assert keys.default_mode == 0o600
    assert [each.path for each in keys.items] == ["id_rsa", "id_rsa.pub", "authorized_keys"]
    assert worker.metadata.labels[f"{LABEL}job-role"] == "worker"


@pytest.mark.parametrize(
    ("implementation", "hostfile", "variable"),
    [
        ("Intel", "job-worker-0.job.default.svc:2\n", ("I_MPI_PERHOST", "2")),
        ("MPICH", "job-worker-0.job.default.svc:2\n", ("HYDRA_HOST_FILE", "/etc/mpi/hostfile")),
        ("OpenMPI", "job-worker-0.job.default.svc slots=2\n", ("OMPI_MCA_orte_set_default_slots", "2")),
    ],
)
async def test_each_implementation_is_told_in_its_own_words(
    world: World, implementation: str, hostfile: str, variable: tuple[str, str]
):
    job = an_mpijob("v2beta1", workers=1, mpiImplementation=implementation, slotsPerWorker=2, sshAuthMountPath="/keys")
    await post(world, job)
    assert (await files(world))["hostfile"] == hostfile
    launcher = (await pods(world))["job-launcher"]
    assert variable in variables(launcher).items()
    assert "/keys" in {each.mount_path for each in launcher.spec.containers[0].volume_mounts}
    keys = next(each.secret for each in launcher.spec.volumes if each.name == "ssh-auth")
    assert keys is not None
    assert keys.default_mode == 0o644


async def test_a_launcher_that_is_a_worker_comes_first(world: World):
    await post(world, an_mpijob("v2beta1", workers=1, runLauncherAsWorker=True))
    await play(world, "job-worker-0", "Running")
    said = await files(world)
    assert said["hostfile"] == "job-launcher.job.default.svc slots=1\njob-worker-0.job.default.svc slots=1\n"
    assert said["discover_hosts.sh"] == (
        "#!/bin/sh\necho job-launcher.job.default.svc\necho job-worker-0.job.default.svc\n"
    )
    assert "NVIDIA_VISIBLE_DEVICES" not in variables((await pods(world))["job-launcher"])


async def test_a_launcher_may_wait_for_ready_workers(world: World):
    await post(world, an_mpijob("v2beta1", launcherCreationPolicy="WaitForWorkersReady"))
    assert sorted(await pods(world)) == ["job-worker-0", "job-worker-1"]
    await play(world, "job-worker-0", "Running")
    await play(world, "job-worker-1", "Running", ready=False)
    assert await world.get(Job, "job-launcher") is None
    await play(world, "job-worker-1", "Running")
    assert "job-launcher" in await pods(world)


async def test_v2_runs_and_succeeds_with_its_launcher(world: World):
    await post(world, an_mpijob("v2beta1", runPolicy={"cleanPodPolicy": "Running"}))
    await play(world, "job-launcher", "Running")
    assert types(await status(world)) == [("Created", "True")]
    await world.play_all("Running")
    assert types(await status(world)) == [("Created", "True"), ("Running", "True")]
    await play(world, "job-launcher", "Succeeded")
    said = await status(world, "v2beta1")
    assert types(said) == [("Created", "True"), ("Running", "False"), ("Succeeded", "True")]
    assert said["replicaStatuses"]["Launcher"]["succeeded"] == 1
    assert said["completionTime"]
    assert sorted(await pods(world)) == ["job-launcher"]
    assert await world.settles("training-mpijobs-over-ssh", KEY)


async def test_v2_fails_with_its_launcher_and_says_how(world: World):
    job = an_mpijob("v2beta1", runPolicy={"backoffLimit": 0, "cleanPodPolicy": "All"})
    job["spec"]["mpiReplicaSpecs"]["Launcher"] = a_replica(1, "Never")
    await post(world, job)
    await world.play_all("Running")
    await play(world, "job-launcher", "Failed", exit_code=3)
    last = (await status(world))["conditions"][-1]
    assert (last["type"], last["reason"]) == ("Failed", "BackoffLimitExceeded")
    assert last["message"].endswith("backoff limit: exit code 3")
    assert sorted(await pods(world)) == ["job-launcher"]  # its log is its Job's


async def test_v2_tries_its_launcher_again(world: World):
    job = an_mpijob("v2beta1", runPolicy={"backoffLimit": 1})
    job["spec"]["mpiReplicaSpecs"]["Launcher"] = a_replica(1, "Never")
    await post(world, job)
    await world.play_all("Running")
    await play(world, "job-launcher", "Failed")
    await world.pass_time(60)
    again = [each for each in await world.all(Pod) if each.spec.hostname == "job-launcher"]
    assert sorted(each.status.phase for each in again) == ["Failed", "Pending"]
    assert types(await status(world))[-1] == ("Running", "True")


async def test_v2_is_suspended_and_resumed(world: World):
    await post(world, an_mpijob("v2beta1"))
    await world.play_all("Running")
    await world.edit(MPIJobV2, "job", {"spec": {"runPolicy": {"suspend": True}}})
    assert types(await status(world)) == [("Created", "True"), ("Running", "False"), ("Suspended", "True")]
    assert await pods(world) == {}
    assert (await status(world)).get("startTime") is None
    await world.edit(MPIJobV2, "job", {"spec": {"runPolicy": {"suspend": False}}})
    await world.settle()
    assert sorted(await pods(world)) == ["job-launcher", "job-worker-0", "job-worker-1"]
    await world.play_all("Running")
    assert ("Running", "True") in types(await status(world))


async def test_a_worker_that_was_evicted_ends_the_job_and_one_that_may_restart_comes_again(world: World):
    job = an_mpijob("v2beta1")
    job["spec"]["mpiReplicaSpecs"]["Worker"] = a_replica(2, "OnFailure")
    await post(world, job)
    await world.play_all("Running")
    await play(world, "job-worker-0", "Failed", reason="Evicted")
    assert types(await status(world))[-1] == ("Restarting", "True")
    assert (await pods(world))["job-worker-0"].status.phase == "Pending"
    await post(world, an_mpijob("v2beta1", name="strict"))
    await world.play_all("Running")
    await play(world, "strict-worker-0", "Failed", reason="Evicted")
    last = (await fetch(world, "v1", "strict"))["status"]["conditions"][-1]
    assert (last["type"], last["reason"], last["message"]) == ("Failed", "MPIJobEvicted", "1/2 workers are evicted")


async def test_a_lost_worker_comes_again(world: World):
    await post(world, an_mpijob("v2beta1"))
    await world.delete(Pod, "job-worker-1")
    await world.settle()
    assert "job-worker-1" in await pods(world)


async def test_a_gang_is_launcher_and_workers(tmp_path: Path):
    async with a_world(tmp_path, batch.setup, scheduler.setup, setup, admissions=admissions()) as world:
        policy = {"schedulingPolicy": {"minAvailable": 3}}
        await post(world, an_mpijob("v2beta1", runPolicy=policy))
        group = await world.get(PodGroup, "job")
        assert group is not None
        assert group.spec.min_member == 3
        assert {each.metadata.labels[POD_GROUP_LABEL] for each in await world.all(Pod)} == {"job"}


async def test_a_gang_is_without_a_launcher_that_waits_for_it(tmp_path: Path):
    async with a_world(tmp_path, batch.setup, scheduler.setup, setup, admissions=admissions()) as world:
        policy = {"schedulingPolicy": {}}
        await post(world, an_mpijob("v2beta1", runPolicy=policy, launcherCreationPolicy="WaitForWorkersReady"))
        group = await world.get(PodGroup, "job")
        assert group is not None
        assert group.spec.min_member == 2


async def test_time_after_the_end_removes_the_job(world: World):
    await post(world, an_mpijob("v2beta1", runPolicy={"ttlSecondsAfterFinished": 60}))
    await world.play_all("Running")
    await play(world, "job-launcher", "Succeeded")
    await world.pass_time(61)
    assert await world.get(MPIJob, "job") is None


# both -----------------------------------------------------------------------------------------------------------------


async def test_a_job_keeps_its_shape_in_whichever_version_it_is_written(world: World):
    await post(world, an_mpijob("v1"))
    await world.edit(MPIJobV2, "job", {"metadata": {"labels": {"team": "fruit"}}, "spec": {"mainContainer": "main"}})
    spec = (await fetch(world, "v1"))["spec"]
    assert "mpiImplementation" not in spec
    assert spec["mainContainer"] == "main"
    await world.settle()
    assert await world.get(Job, "job-launcher") is None
    with pytest.raises(Invalid, match="field is immutable"):
        await world.edit(MPIJob, "job", {"spec": {"mpiImplementation": "OpenMPI", "sshAuthMountPath": "/root/.ssh"}})


async def test_a_job_of_another_manager_is_left_alone(world: World):
    await post(world, an_mpijob("v2beta1", runPolicy={"managedBy": "kueue.x-k8s.io/multikueue"}))
    assert await pods(world) == {}
    assert await world.all(Event) == []


async def test_both_versions_are_served_and_the_older_is_preferred(world: World):
    groups = (await world.client.request("GET", "/apis"))["groups"]
    group = next(each for each in groups if each["name"] == "kubeflow.org")
    assert group["preferredVersion"]["version"] == "v1"
    assert "v2beta1" in [each["version"] for each in group["versions"]]
