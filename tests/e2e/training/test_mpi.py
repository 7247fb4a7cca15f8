"""MPI through the official clients: real mpirun, real ranks in several pods, over exec and over ssh."""

import re
from typing import Any

import pytest
import yaml
from kubeflow.common.types import KubernetesBackendConfig
from kubeflow.trainer import CustomTrainer, TrainerClient
from kubeflow.training import (
    KubeflowOrgV1MPIJob,
    KubeflowOrgV1MPIJobSpec,
    KubeflowOrgV1ReplicaSpec,
    KubeflowOrgV1RunPolicy,
    TrainingClient,
)
from kubernetes import client
from tests.e2e.platforms import Platform, eventually

pytestmark = pytest.mark.e2e

ENVIRONMENT_SECONDS = 400
"""The first job of an image that is an environment waits until it is built; on a loaded machine that takes a while."""

IMAGE = "mpioperator/openmpi"
LABEL = "training.kubeflow.org"
ADDS_UP = """
import os, sys
from mpi4py import MPI
world = MPI.COMM_WORLD
total = world.allreduce(world.Get_rank() + 1)
print("rank", world.Get_rank(), "of", world.Get_size(), "on", os.uname().nodename, "sum", total, flush=True)
"""
LAST_ONE_FAILS = ADDS_UP + "sys.exit(17 if world.Get_rank() == 3 else 0)"
WAITS_FOR_A_SIGN = (
    ADDS_UP
    + """
import time
print("user", os.getuid(), flush=True)
while not os.path.exists("/sign/now"):
    time.sleep(0.1)
"""
)
TWO_BY_TWO = [f"rank {rank} of 4 on {{name}}-worker-{rank // 2} sum 10" for rank in range(4)]


@pytest.fixture
def training(platform: Platform, namespace: str) -> TrainingClient:
    return TrainingClient(config_file=str(platform.kubeconfig), namespace=namespace)


def an_mpijob(name: str, program: str, **policy: Any) -> KubeflowOrgV1MPIJob:
    """Two workers of two slots each, and a launcher whose mpirun runs the program four times."""

    def replicas(command: list[str] | None, count: int) -> KubeflowOrgV1ReplicaSpec:
        container = client.V1Container(name="mpi", image=IMAGE, command=command)
        template = client.V1PodTemplateSpec(spec=client.V1PodSpec(containers=[container]))
        return KubeflowOrgV1ReplicaSpec(replicas=count, template=template, restart_policy="Never")

    launch = ["mpirun", "-n", "4", "python3", "-c", program]
    spec = KubeflowOrgV1MPIJobSpec(
        slots_per_worker=2,
        run_policy=KubeflowOrgV1RunPolicy(**{"clean_pod_policy": "Running", **policy}),
        mpi_replica_specs={"Launcher": replicas(launch, 1), "Worker": replicas(None, 2)},
    )
    metadata = client.V1ObjectMeta(name=name)
    return KubeflowOrgV1MPIJob(api_version="kubeflow.org/v1", kind="MPIJob", metadata=metadata, spec=spec)


def ranks(log: str) -> list[str]:
    return sorted(re.findall(r"rank \d+ of \d+.*", log))


def test_four_ranks_in_two_pods_add_up(training: TrainingClient, platform: Platform, namespace: str):
    training.create_job(an_mpijob("adds", ADDS_UP))
    training.wait_for_job_conditions("adds", job_kind="MPIJob", wait_timeout=ENVIRONMENT_SECONDS, polling_interval=1)
    assert training.is_job_succeeded("adds", job_kind="MPIJob")
    logs, _ = training.get_job_logs("adds", job_kind="MPIJob")
    assert list(logs) == ["adds-launcher"]
    assert ranks(logs["adds-launcher"]) == [line.format(name="adds") for line in TWO_BY_TWO]
    eventually(lambda: training.get_job_pod_names("adds") == ["adds-launcher"])  # workers that still run go
    training.delete_job("adds", job_kind="MPIJob")
    eventually(lambda: not platform.get("pods,roles,rolebindings", "-n", namespace)["items"])


def test_a_rank_s_exit_code_is_the_job_s(training: TrainingClient):
    training.create_job(an_mpijob("fails", LAST_ONE_FAILS))
    with pytest.raises(RuntimeError, match=r"MPIJob .*/fails is Failed"):
        training.wait_for_job_conditions(
            "fails", job_kind="MPIJob", wait_timeout=ENVIRONMENT_SECONDS, polling_interval=1
        )
    last = training.get_job_conditions("fails", job_kind="MPIJob")[-1]
    assert last.type == "Failed"
    assert last.message.endswith("exit code 17.")


def test_elastic_programs_see_workers_come(platform: Platform, namespace: str):
    """As Horovod's elastic driver does: it asks the script again and again."""
    count = "until [ $(/etc/mpi/discover_hosts.sh | wc -l) = 2 ]; do sleep 0.2; done; /etc/mpi/discover_hosts.sh"
    job = an_mpijob("elastic", "")
    job.spec.mpi_replica_specs["Worker"].replicas = 1
    for spec in job.spec.mpi_replica_specs.values():
        spec.template.spec.containers[0].image = "python:3.11"
    job.spec.mpi_replica_specs["Launcher"].template.spec.containers[0].command = ["sh", "-c", count]
    body = client.ApiClient().sanitize_for_serialization(job)
    platform.kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump(body))
    wait(platform, namespace, "elastic", "Running")
    more = '{"spec":{"mpiReplicaSpecs":{"Worker":{"replicas":2}}}}'
    platform.kubectl("patch", "mpijob", "elastic", "-n", namespace, "--type=merge", "-p", more)
    wait(platform, namespace, "elastic", "Succeeded")
    said = platform.kubectl("logs", "elastic-launcher", "-n", namespace, "-c", "mpi")
    assert said.split() == ["elastic-worker-0:2", "elastic-worker-1:2"]


def wait(platform: Platform, namespace: str, name: str, condition: str) -> None:
    platform.kubectl(
        "wait", f"--for=condition={condition}", f"mpijob/{name}", "-n", namespace, f"--timeout={ENVIRONMENT_SECONDS}s"
    )


def over_ssh(name: str, program: str, user: int) -> dict[str, Any]:
    """As mpi-operator's own example: not root, keys below that user's home, sshd with a file of settings."""

    def replicas(count: int, **container: Any) -> dict[str, Any]:
        main = {"name": "mpi", "image": IMAGE, "securityContext": {"runAsUser": user}, **container}
        sign = {"name": "sign", "configMap": {"name": "sign", "optional": True}}
        main["volumeMounts"] = [{"name": "sign", "mountPath": "/sign"}]
        return {"replicas": count, "template": {"spec": {"containers": [main], "volumes": [sign]}}}

    launch = replicas(1, command=["mpirun", "-n", "4"], args=["python3", "-c", program])
    serve = replicas(2, command=["/usr/sbin/sshd"], args=["-De", "-f", "/home/mpiuser/.sshd_config"])
    return {
        "apiVersion": "kubeflow.org/v2beta1",
        "kind": "MPIJob",
        "metadata": {"name": name},
        "spec": {
            "slotsPerWorker": 2,
            "sshAuthMountPath": "/home/mpiuser/.ssh",
            "mpiReplicaSpecs": {"Launcher": launch, "Worker": serve},
        },
    }


def test_a_job_over_ssh_is_suspended_in_the_middle_and_resumed(platform: Platform, namespace: str):
    def suspend(value: str) -> None:
        patch = f'{{"spec":{{"runPolicy":{{"suspend":{value}}}}}}}'
        platform.kubectl("patch", "mpijobs.v2beta1.kubeflow.org", "ssh", "-n", namespace, "--type=merge", "-p", patch)

    def log() -> str:
        selector = f"-l={LABEL}/job-name=ssh,{LABEL}/job-role=launcher"
        return platform.kubectl("logs", selector, "-n", namespace, "--tail=-1")

    body = yaml.safe_dump(over_ssh("ssh", WAITS_FOR_A_SIGN, user=1000))
    platform.kubectl("apply", "-n", namespace, "-f", "-", stdin=body)
    wait(platform, namespace, "ssh", "Running")
    eventually(lambda: log().count("user 1000") == 4)
    suspend("true")
    wait(platform, namespace, "ssh", "Suspended")
    eventually(lambda: not platform.get("pods", "-n", namespace)["items"])
    platform.kubectl("create", "configmap", "sign", "-n", namespace, "--from-literal=now=yes")
    suspend("false")
    wait(platform, namespace, "ssh", "Succeeded")
    assert ranks(log()) == [line.format(name="ssh") for line in TWO_BY_TWO]
    launcher = platform.get("job/ssh-launcher", "-n", namespace)
    assert [each["type"] for each in launcher["status"]["conditions"] if each["status"] == "True"][-1] == "Complete"


def adds_up_in_mlx():
    import mlx.core as mx  # noqa: PLC0415  # the function travels alone

    world = mx.distributed.init(backend="mpi", strict=True)
    total = mx.distributed.all_sum(mx.array([world.rank() + 1.0]))
    print("rank", world.rank(), "of", world.size(), "sum", int(total.item()), flush=True)


def test_a_function_runs_under_mpirun_on_trainer_s_nodes(platform: Platform, namespace: str):
    backend = KubernetesBackendConfig(config_file=str(platform.kubeconfig), namespace=namespace)
    trainer = TrainerClient(backend_config=backend)
    runtime = trainer.get_runtime("mlx-distributed")
    name = trainer.train(runtime=runtime, trainer=CustomTrainer(func=adds_up_in_mlx, num_nodes=3))
    job = trainer.wait_for_job_status(name, timeout=ENVIRONMENT_SECONDS, polling_interval=1)
    assert job.status == "Complete"
    log = "\n".join(trainer.get_job_logs(name))
    assert ranks(log) == [f"rank {rank} of 3 sum 6" for rank in range(3)]
