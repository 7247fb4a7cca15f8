"""Training Operator v1 through the official SDK: every kind, from functions and from images, to its end."""

import json
import re
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from kubeflow.training import (
    KubeflowOrgV1JAXJob,
    KubeflowOrgV1JAXJobSpec,
    KubeflowOrgV1MPIJob,
    KubeflowOrgV1MPIJobSpec,
    KubeflowOrgV1PaddleJob,
    KubeflowOrgV1PaddleJobSpec,
    KubeflowOrgV1PyTorchJob,
    KubeflowOrgV1PyTorchJobSpec,
    KubeflowOrgV1ReplicaSpec,
    KubeflowOrgV1RunPolicy,
    KubeflowOrgV1TFJob,
    KubeflowOrgV1TFJobSpec,
    KubeflowOrgV1XGBoostJob,
    KubeflowOrgV1XGBoostJobSpec,
    TrainingClient,
)
from kubernetes import client
from tests.e2e.platforms import Platform, eventually

pytestmark = pytest.mark.e2e

ENVIRONMENT_SECONDS = 400
"""The first job of an image that is an environment waits until it is built; on a loaded machine that takes a while."""

IMAGE = "python:3.11"
TELL = "import json, os; print('told', json.dumps(dict(os.environ)))"
"""Not JSON alone, which Kubernetes' client would take for an object."""

GO_ON = "import time; print('begun', flush=True); time.sleep(600)"


def ddp_beside_one_process(steps: int):
    """Rank 0 trains once alone on all the data; then all ranks together, each on its share."""
    import os  # noqa: PLC0415

    import torch  # noqa: PLC0415  # the function travels alone
    import torch.distributed as dist  # noqa: PLC0415
    from torch.nn.parallel import DistributedDataParallel  # noqa: PLC0415

    def model_of():
        torch.manual_seed(7)
        return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))

    def losses(model, inputs, targets, across):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        found = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(inputs), targets)
            loss.backward()
            optimizer.step()
            value = loss.detach().clone()
            if across > 1:
                dist.all_reduce(value)
            found.append(value.item() / across)
        return found

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(3)
    data = torch.randn(64, 8, generator=generator)
    answer = data.sum(1, keepdim=True).sin()
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    together = losses(DistributedDataParallel(model_of()), data[rank::world], answer[rank::world], world)
    if rank == 0:
        alone = losses(model_of(), data, answer, 1)
        print("world", world, flush=True)
        for one, other in zip(alone, together, strict=True):
            print(f"loss {one:.9f} {other:.9f}", flush=True)
    dist.barrier()
    dist.destroy_process_group()
    # A thread of torch's gloo that gives a Python object back while the interpreter ends aborts the process (2.13, one
    # in twenty): then that node would begin again alone, and wait for those that have ended.
    os._exit(0)


def tells_its_place():
    import json  # noqa: PLC0415  # the function travels alone
    import os  # noqa: PLC0415

    print("place", json.dumps(json.loads(os.environ["TF_CONFIG"])["task"]), flush=True)


@pytest.fixture
def training(platform: Platform, namespace: str) -> TrainingClient:
    return TrainingClient(config_file=str(platform.kubeconfig), namespace=namespace)


def replicas(container: str, program: str, count: int = 1) -> KubeflowOrgV1ReplicaSpec:
    """So many processes that run a program of a few lines."""
    main = client.V1Container(name=container, image=IMAGE, command=["python3", "-c", program])
    template = client.V1PodTemplateSpec(spec=client.V1PodSpec(containers=[main]))
    return KubeflowOrgV1ReplicaSpec(replicas=count, template=template, restart_policy="Never")


def run(training: TrainingClient, job: Any) -> dict[str, dict[str, str]]:
    """Run a job whose processes tell their environment to its good end; what each was told, by pod."""
    kind, name = job.kind, job.metadata.name
    training.create_job(job)
    training.wait_for_job_conditions(name, job_kind=kind, wait_timeout=150, polling_interval=1)
    eventually(lambda: all(pod.status.phase == "Succeeded" for pod in training.get_job_pods(name)))
    logs, _ = training.get_job_logs(name, job_kind=kind, is_master=False)
    return {pod: json.loads(text.removeprefix("told ")) for pod, text in logs.items()}


def a_job(model: Callable[..., Any], kind: str, name: str, spec: Any) -> Any:
    metadata = client.V1ObjectMeta(name=name)
    return model(api_version="kubeflow.org/v1", kind=kind, metadata=metadata, spec=spec)


def a_pytorchjob(name: str, program: str, workers: int = 1) -> KubeflowOrgV1PyTorchJob:
    specs = {"Master": replicas("pytorch", program), "Worker": replicas("pytorch", program, workers)}
    policy = KubeflowOrgV1RunPolicy(clean_pod_policy="None")
    spec = KubeflowOrgV1PyTorchJobSpec(run_policy=policy, pytorch_replica_specs=specs)
    return a_job(KubeflowOrgV1PyTorchJob, "PyTorchJob", name, spec)


def types_of(conditions: Sequence[Any]) -> list[tuple[str, str]]:
    return [(each.type, each.status) for each in conditions]


def story(platform: Platform, namespace: str, job: str) -> str:
    """What every rank of a job has said, before its pod's last start as well."""
    said: list[str] = []
    for pod in platform.get("pods", "-n", namespace, "-l", f"training.kubeflow.org/job-name={job}")["items"]:
        name = pod["metadata"]["name"]
        for flags in ((), ("--previous",)):
            text = platform.kubectl("logs", name, "-n", namespace, *flags, check=False)
            said.append(f"== {name} {' '.join(flags)} ({pod['status'].get('phase')})\n{text[-4000:]}")
    return "\n".join(said)


@pytest.mark.timeout(ENVIRONMENT_SECONDS + 60)
def test_two_nodes_of_two_ranks_learn_what_one_process_learns(
    training: TrainingClient, platform: Platform, namespace: str
):
    training.create_job(
        name="ddp",
        train_func=ddp_beside_one_process,
        parameters=5,
        num_workers=2,
        num_procs_per_worker=2,
        env_vars={"OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"},
    )

    def has_ended() -> bool:
        """Ranks that begin again would wait for those that have ended: that is the end as well."""
        pods = training.get_job_pods("ddp")
        restarts = sum(each.restart_count for pod in pods for each in pod.status.container_statuses or ())
        return bool(restarts) or training.is_job_succeeded("ddp") or training.is_job_failed("ddp")

    eventually(has_ended, ENVIRONMENT_SECONDS, "the job ends")
    if not training.is_job_succeeded("ddp"):
        pytest.fail(story(platform, namespace, "ddp"), pytrace=False)
    logs, _ = training.get_job_logs("ddp")
    (log,) = logs.values()
    assert "world 4" in log, story(platform, namespace, "ddp")
    losses = [(float(one), float(other)) for one, other in re.findall(r"loss (\S+) (\S+)", log)]
    assert len(losses) == 5
    assert all(one == pytest.approx(other, abs=1e-6) for one, other in losses)
    assert losses[-1][0] < losses[0][0]


def test_a_function_becomes_a_tfjob_of_every_type(training: TrainingClient):
    training.create_job(
        name="shares",
        job_kind="TFJob",
        base_image=IMAGE,
        train_func=tells_its_place,
        num_workers=2,
        num_chief_replicas=1,
        num_ps_replicas=1,
        labels={"team": "fruit"},
    )
    job = training.wait_for_job_conditions("shares", job_kind="TFJob", wait_timeout=150, polling_interval=1)
    assert job.metadata.labels == {"team": "fruit"}
    eventually(lambda: all(pod.status.phase == "Succeeded" for pod in training.get_job_pods("shares")))
    logs, _ = training.get_job_logs("shares", job_kind="TFJob", is_master=False)
    places = {pod: json.loads(text.split("place ")[1]) for pod, text in logs.items()}
    assert places == {
        "shares-chief-0": {"type": "chief", "index": 0},
        "shares-ps-0": {"type": "ps", "index": 0},
        "shares-worker-0": {"type": "worker", "index": 0},
        "shares-worker-1": {"type": "worker", "index": 1},
    }


def test_tensorflow_is_told_its_cluster(training: TrainingClient, namespace: str):
    specs = {"Worker": replicas("tensorflow", TELL, 2), "Evaluator": replicas("tensorflow", TELL)}
    spec = KubeflowOrgV1TFJobSpec(run_policy=KubeflowOrgV1RunPolicy(), tf_replica_specs=specs)
    told = run(training, a_job(KubeflowOrgV1TFJob, "TFJob", "tf", spec))
    config = json.loads(told["tf-worker-1"]["TF_CONFIG"])
    addresses = [f"tf-worker-{index}.{namespace}.svc:2222" for index in range(2)]
    assert config == {
        "cluster": {"worker": addresses},
        "task": {"type": "worker", "index": 1},
        "environment": "cloud",
    }
    assert json.loads(told["tf-evaluator-0"]["TF_CONFIG"])["task"] == {"type": "evaluator", "index": 0}


def test_pytorch_is_told_master_world_and_rank(training: TrainingClient):
    told = run(training, a_pytorchjob("torch", TELL, workers=2))
    assert {pod: told[pod]["RANK"] for pod in told} == {
        "torch-master-0": "0",
        "torch-worker-0": "1",
        "torch-worker-1": "2",
    }
    each = told["torch-worker-1"]
    assert (each["MASTER_ADDR"], each["MASTER_PORT"], each["WORLD_SIZE"]) == ("torch-master-0", "23456", "3")
    assert (each["PET_NNODES"], each["PET_NODE_RANK"], each["PET_MASTER_ADDR"]) == ("3", "2", "torch-master-0")


def test_xgboost_is_told_master_and_workers(training: TrainingClient):
    specs = {"Master": replicas("xgboost", TELL), "Worker": replicas("xgboost", TELL, 2)}
    spec = KubeflowOrgV1XGBoostJobSpec(run_policy=KubeflowOrgV1RunPolicy(), xgb_replica_specs=specs)
    told = run(training, a_job(KubeflowOrgV1XGBoostJob, "XGBoostJob", "boost", spec))
    each = told["boost-worker-1"]
    assert (each["MASTER_ADDR"], each["MASTER_PORT"], each["WORLD_SIZE"], each["RANK"]) == (
        "boost-master-0",
        "9999",
        "3",
        "2",
    )
    assert (each["WORKER_ADDRS"], each["WORKER_PORT"]) == ("boost-worker-0,boost-worker-1", "9999")


def test_paddle_is_told_the_address_of_the_first(training: TrainingClient):
    specs = {"Worker": replicas("paddle", TELL, 2)}
    spec = KubeflowOrgV1PaddleJobSpec(run_policy=KubeflowOrgV1RunPolicy(), paddle_replica_specs=specs)
    told = run(training, a_job(KubeflowOrgV1PaddleJob, "PaddleJob", "paddle", spec))
    (first,) = training.get_job_pods("paddle", replica_type="worker", replica_index=0)
    assert told["paddle-worker-0"]["PADDLE_MASTER"] == f"{first.status.pod_ip}:36543"
    assert told["paddle-worker-1"]["PADDLE_MASTER"] == "paddle-worker-0:36543"
    assert (told["paddle-worker-1"]["PADDLE_JOB_ID"], told["paddle-worker-1"]["PADDLE_NNODES"]) == ("paddle", "2")


def test_jax_is_told_its_coordinator(training: TrainingClient):
    spec = KubeflowOrgV1JAXJobSpec(
        run_policy=KubeflowOrgV1RunPolicy(), jax_replica_specs={"Worker": replicas("jax", TELL, 2)}
    )
    told = run(training, a_job(KubeflowOrgV1JAXJob, "JAXJob", "jax", spec))
    each = told["jax-worker-1"]
    assert (each["COORDINATOR_ADDRESS"], each["COORDINATOR_PORT"]) == ("jax-worker-0", "6666")
    assert (each["NUM_PROCESSES"], each["PROCESS_ID"]) == ("2", "1")


def test_an_image_becomes_a_job(training: TrainingClient):
    """The image's own command runs: an interpreter with nothing to do, which ends at once."""
    training.create_job(name="image", base_image=IMAGE, num_workers=2)
    training.wait_for_job_conditions("image", wait_timeout=150, polling_interval=1)
    assert training.is_job_succeeded("image")
    assert sorted(training.get_job_pod_names("image")) == ["image-master-0", "image-worker-0"]


def test_a_job_is_found_followed_updated_and_deleted(training: TrainingClient, platform: Platform, namespace: str):
    training.create_job(a_pytorchjob("long", GO_ON))
    job = training.wait_for_job_conditions(
        "long", expected_conditions={"Running"}, wait_timeout=150, polling_interval=1
    )
    assert types_of(job.status.conditions) == [("Created", "True"), ("Running", "True")]
    assert training.is_job_created("long")
    assert training.is_job_running("long")
    assert not training.is_job_failed("long")
    assert [each.metadata.name for each in training.list_jobs()] == ["long"]
    assert training.get_job_pod_names("long", is_master=True) == ["long-master-0"]
    eventually(lambda: [each.status.phase for each in training.get_job_pods("long")] == ["Running", "Running"])

    job = training.get_job("long")
    job.spec.run_policy.suspend = True
    training.update_job(job, "long")
    eventually(lambda: ("Suspended", "True") in types_of(training.get_job_conditions("long")))
    eventually(lambda: not training.get_job_pods("long"))

    training.delete_job("long")
    eventually(lambda: not training.list_jobs())
    eventually(lambda: not platform.get("services", "-n", namespace)["items"])


def test_logs_are_followed_to_the_end_with_the_events(training: TrainingClient):
    count = "import time\nfor step in range(20):\n    print('step', step, flush=True)\n    time.sleep(0.1)"
    training.create_job(a_pytorchjob("counts", count))
    either = {"Running", "Succeeded"}  # on a busy machine it may be over by then
    training.wait_for_job_conditions("counts", expected_conditions=either, wait_timeout=150, polling_interval=1)
    logs, _ = training.get_job_logs("counts", follow=True)
    assert logs == {"counts-master-0": "".join(f"step {step}" for step in range(20))}

    def is_told() -> bool:
        _, events = training.get_job_logs("counts", verbose=True)
        return "Created pod: counts-master-0" in "\n".join(text for lines in events.values() for text in lines)

    eventually(is_told, what="ordinary events take a while")
    training.wait_for_job_conditions("counts", wait_timeout=150, polling_interval=1)


KINDS: list[tuple[str, str, str, Callable[..., Any], Callable[..., Any]]] = [
    ("TFJob", "tf_replica_specs", "tensorflow", KubeflowOrgV1TFJob, KubeflowOrgV1TFJobSpec),
    ("PyTorchJob", "pytorch_replica_specs", "pytorch", KubeflowOrgV1PyTorchJob, KubeflowOrgV1PyTorchJobSpec),
    ("XGBoostJob", "xgb_replica_specs", "xgboost", KubeflowOrgV1XGBoostJob, KubeflowOrgV1XGBoostJobSpec),
    ("PaddleJob", "paddle_replica_specs", "paddle", KubeflowOrgV1PaddleJob, KubeflowOrgV1PaddleJobSpec),
    ("JAXJob", "jax_replica_specs", "jax", KubeflowOrgV1JAXJob, KubeflowOrgV1JAXJobSpec),
    ("MPIJob", "mpi_replica_specs", "mpi", KubeflowOrgV1MPIJob, KubeflowOrgV1MPIJobSpec),
]


LEADERS = {"XGBoostJob": "Master", "MPIJob": "Launcher"}


@pytest.mark.parametrize(("kind", "field", "container", "model", "spec"), KINDS, ids=[each[0] for each in KINDS])
def test_every_kind_is_created_found_updated_followed_and_deleted(
    training: TrainingClient, kind: str, field: str, container: str, model: Callable[..., Any], spec: Callable[..., Any]
):
    role = LEADERS.get(kind, "Worker")
    program = "import time\nfor step in range(10):\n    print('step', step, flush=True)\n    time.sleep(0.1)"
    policy = KubeflowOrgV1RunPolicy(suspend=True, clean_pod_policy="None")
    body = a_job(model, kind, "each", spec(run_policy=policy, **{field: {role: replicas(container, program)}}))
    training.create_job(body)
    known = {"name": "each", "job_kind": kind}
    eventually(lambda: ("Suspended", "True") in types_of(training.get_job_conditions(**known)))
    assert [found.metadata.name for found in training.list_jobs(job_kind=kind)] == ["each"]
    found = training.get_job(**known)
    assert getattr(found.spec, field)[role].template.spec.containers[0].image == IMAGE
    found.spec.run_policy.suspend = False
    found.metadata.labels = {"changed": "yes"}
    training.update_job(found, **known)
    eventually(lambda: training.get_job_pods("each"))
    training.wait_for_job_conditions(
        **known, expected_conditions={"Running", "Succeeded"}, wait_timeout=150, polling_interval=1
    )
    logs, _ = training.get_job_logs(**known, follow=True)
    pod = "each-launcher" if kind == "MPIJob" else f"each-{role.lower()}-0"
    assert logs == {pod: "".join(f"step {step}" for step in range(10))}
    done = training.wait_for_job_conditions(**known, wait_timeout=150, polling_interval=1)
    assert done.metadata.labels == {"changed": "yes"}
    training.delete_job(**known)
    eventually(lambda: not training.list_jobs(job_kind=kind))


def test_waiting_for_a_job_that_fails_raises(training: TrainingClient):
    training.create_job(a_pytorchjob("bad", "raise SystemExit(3)"))
    with pytest.raises(RuntimeError, match=r"PyTorchJob .*/bad is Failed"):
        training.wait_for_job_conditions("bad", wait_timeout=150, polling_interval=1)
    assert training.is_job_failed("bad")
    assert types_of(training.get_job_conditions("bad"))[-1] == ("Failed", "True")


def test_a_wrong_job_is_refused_with_the_reason(training: TrainingClient):
    job = a_pytorchjob("wrong", TELL)
    job.spec.pytorch_replica_specs["Master"].replicas = 2
    with pytest.raises(RuntimeError, match="there is exactly one Master"):
        training.create_job(job)


def test_a_model_is_fine_tuned_by_the_client_s_own_images(
    training: TrainingClient, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    """``train()``, with room for nobody: its images are a registry's, and larger than what a test should fetch."""

    class Settings:
        def to_dict(self) -> dict[str, Any]:
            return {"r": 8, "target_modules": ["q", "v"]}

    library = types.ModuleType("transformers")
    kinds = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "CausalLM", "MaskedLM")
    for kind in (*kinds, "ImageClassification"):
        setattr(library, f"AutoModelFor{kind}", type(f"AutoModelFor{kind}", (), {}))
    library.TrainingArguments = Settings
    tuning = types.ModuleType("peft")
    tuning.LoraConfig = Settings
    monkeypatch.setitem(sys.modules, "transformers", library)
    monkeypatch.setitem(sys.modules, "peft", tuning)
    from kubeflow.storage_initializer import hugging_face, s3  # noqa: PLC0415  # they import those two

    training.train(
        name="tuned",
        num_workers=2,
        num_procs_per_worker=1,
        resources_per_worker={"cpu": "1000"},
        model_provider_parameters=hugging_face.HuggingFaceModelParams("hf://google/bert", library.AutoModelForCausalLM),
        dataset_provider_parameters=s3.S3DatasetParams("http://s3.example", "bucket", "key"),
        trainer_parameters=hugging_face.HuggingFaceTrainerParams(Settings(), Settings()),
        storage_config={"size": "1Gi", "storage_class": None, "access_modes": ["ReadWriteOnce", "ReadOnlyMany"]},
    )
    claim = training.core_api.read_namespaced_persistent_volume_claim("tuned", namespace)
    assert claim.spec.access_modes == ["ReadWriteOnce", "ReadOnlyMany"]
    eventually(lambda: len(training.get_job_pods("tuned")) == 2)
    (master,) = training.get_job_pods("tuned", is_master=True)
    (first,) = [each for each in master.spec.init_containers if each.name == "storage-initializer"]
    assert json.loads(first.args[first.args.index("--dataset_provider_parameters") + 1])["bucket_name"] == "bucket"
    assert json.loads(master.spec.containers[0].args[-1])["target_modules"] == ["q", "v"]
    assert [
        each.persistent_volume_claim.claim_name for each in master.spec.volumes if each.persistent_volume_claim
    ] == ["tuned"]
    training.delete_job("tuned")
