"""Trainer v2 through the official SDK: functions that train together, found, followed and deleted."""

import os
from typing import Any

import pytest
from kubeflow.common.types import KubernetesBackendConfig
from kubeflow.trainer import (
    BuiltinTrainer,
    CustomTrainer,
    CustomTrainerContainer,
    HuggingFaceDatasetInitializer,
    HuggingFaceModelInitializer,
    Initializer,
    TorchTuneConfig,
    TrainerClient,
)
from kubeflow.trainer.options import (
    ActiveDeadlineSeconds,
    Annotations,
    ContainerPatch,
    JobSetSpecPatch,
    JobSetTemplatePatch,
    JobSpecPatch,
    JobTemplatePatch,
    Labels,
    Name,
    PodSpecPatch,
    PodTemplatePatch,
    ReplicatedJobPatch,
    RuntimePatch,
    TrainerArgs,
    TrainerCommand,
    TrainingRuntimeSpecPatch,
)
from tests.e2e.platforms import Platform, eventually

pytestmark = pytest.mark.e2e

ENVIRONMENT_SECONDS = 400
"""The first job of an image that is an environment waits until it is built; on a loaded machine that takes a while."""

PLAIN: dict[str, Any] = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "TrainingRuntime",
    "metadata": {"name": "plain", "labels": {"trainer.kubeflow.org/framework": "plain"}},
    "spec": {
        "mlPolicy": {"numNodes": 1},
        "template": {
            "spec": {
                "replicatedJobs": [
                    {
                        "name": "node",
                        "template": {
                            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
                            "spec": {
                                "backoffLimit": 0,
                                "template": {
                                    "spec": {
                                        "restartPolicy": "Never",
                                        "containers": [{"name": "node", "image": "python:3.11"}],
                                    }
                                },
                            },
                        },
                    }
                ]
            }
        },
    },
}
"""A runtime of one's own that needs no framework: what its jobs do begins at once."""


def all_reduce(factor: int):
    import os  # noqa: PLC0415  # the function travels alone

    import torch  # noqa: PLC0415  # the function travels alone
    import torch.distributed as dist  # noqa: PLC0415

    dist.init_process_group("gloo")
    value = torch.tensor([float(dist.get_rank() * factor)])
    dist.all_reduce(value)
    print(f"rank {dist.get_rank()} of {dist.get_world_size()}: {value.item()}", flush=True)
    dist.destroy_process_group()
    os._exit(0)  # torch 2.13: a thread of gloo may abort an interpreter that ends in the ordinary way


def fails():
    raise ValueError("no luck")


def counts(steps: int):
    import time  # noqa: PLC0415  # the function travels alone

    for step in range(steps):
        print(f"step {step}", flush=True)
        time.sleep(0.1)


def goes_on():
    import time  # noqa: PLC0415  # the function travels alone

    print("begun", flush=True)
    time.sleep(600)


def says_what_it_was_told():
    import os  # noqa: PLC0415  # the function travels alone

    print(os.environ["FLAVOUR"], os.environ["SIZE"], flush=True)


@pytest.fixture
def trainer(platform: Platform, namespace: str) -> TrainerClient:
    config = KubernetesBackendConfig(namespace=namespace, config_file=str(platform.kubeconfig))
    platform.apply({**PLAIN, "metadata": {**PLAIN["metadata"], "namespace": namespace}})
    return TrainerClient(backend_config=config)


def patch_of_pods(pod: PodSpecPatch) -> RuntimePatch:
    """A change of the pods that train."""
    template = JobTemplatePatch(spec=JobSpecPatch(template=PodTemplatePatch(spec=pod)))
    jobs = JobSetSpecPatch(replicated_jobs=[ReplicatedJobPatch(name="node", template=template)])
    return RuntimePatch(training_runtime_spec=TrainingRuntimeSpecPatch(template=JobSetTemplatePatch(spec=jobs)))


def test_runtimes_are_listed_with_their_frameworks(trainer: TrainerClient):
    found = {runtime.name: runtime.trainer.framework for runtime in trainer.list_runtimes()}
    assert found["torch-distributed"] == "torch"
    assert found["plain"] == "plain"


def test_a_function_trains_on_two_nodes(trainer: TrainerClient):
    runtime = trainer.get_runtime("torch-distributed")
    custom = CustomTrainer(func=all_reduce, func_args={"factor": 2}, num_nodes=2, resources_per_node={"cpu": 1})
    name = trainer.train(runtime=runtime, trainer=custom)
    job = trainer.wait_for_job_status(name, timeout=ENVIRONMENT_SECONDS, polling_interval=1)
    assert job.status == "Complete"
    assert sorted(step.name for step in job.steps) == ["node-0", "node-1"]
    lines = [line for step in ("node-0", "node-1") for line in trainer.get_job_logs(name, step=step)]
    ranks = sorted(line for line in "\n".join(lines).splitlines() if line.startswith("rank"))
    assert ranks == [f"rank {rank} of 2: 2.0" for rank in range(2)]
    assert name in [each.name for each in trainer.list_jobs(runtime)]
    trainer.delete_job(name)
    assert name not in [each.name for each in trainer.list_jobs()]


def test_more_than_the_machine_has_stays_pending_and_says_why(trainer: TrainerClient):
    cpus = (os.cpu_count() or 1) + 1
    custom = CustomTrainer(func=counts, func_args={"steps": 1}, resources_per_node={"cpu": cpus})
    name = trainer.train(runtime="plain", trainer=custom)

    def told() -> list[str]:
        return [each.message for each in trainer.get_job_events(name) if each.reason == "FailedScheduling"]

    assert "Insufficient cpu" in eventually(told)[0]
    job = trainer.get_job(name)
    assert job.status == "Created"
    assert [step.status for step in job.steps] == ["Pending"]


def test_a_job_that_fails_is_reported_and_waiting_for_it_raises(trainer: TrainerClient):
    name = trainer.train(runtime="plain", trainer=CustomTrainer(func=fails))
    with pytest.raises(RuntimeError, match="is Failed"):
        trainer.wait_for_job_status(name, timeout=150, polling_interval=1)
    assert trainer.get_job(name).status == "Failed"
    assert "ValueError: no luck" in "\n".join(trainer.get_job_logs(name))

    def reasons() -> set[tuple[str, str]]:
        return {(each.involved_object_kind, each.reason) for each in trainer.get_job_events(name)}

    eventually(lambda: {("Pod", "Started"), ("JobSet", "FailedJobs")} <= reasons(), what="ordinary events take a while")


def test_logs_are_followed_while_the_job_runs(trainer: TrainerClient):
    name = trainer.train(runtime="plain", trainer=CustomTrainer(func=counts, func_args={"steps": 20}))
    trainer.wait_for_job_status(name, {"Running", "Complete"}, timeout=150, polling_interval=1)
    lines = list(trainer.get_job_logs(name, follow=True))
    assert lines == [f"step {step}" for step in range(20)]
    assert trainer.wait_for_job_status(name, timeout=150, polling_interval=1).status == "Complete"


def test_a_running_job_is_found_followed_and_deleted(platform: Platform, trainer: TrainerClient, namespace: str):
    name = trainer.train(runtime="plain", trainer=CustomTrainer(func=goes_on))
    seen: list[str] = []
    trainer.wait_for_job_status(
        name, {"Running"}, timeout=150, polling_interval=1, callbacks=[lambda job: seen.append(job.status)]
    )
    assert seen[-1] == "Running"
    assert next(iter(trainer.get_job_logs(name, follow=True))) == "begun"
    trainer.delete_job(name)
    with pytest.raises(RuntimeError, match="Failed to get"):
        trainer.get_job(name)
    eventually(lambda: not platform.get("pods,jobs,jobsets", "-n", namespace)["items"])


def test_a_job_is_suspended_and_resumed(platform: Platform, trainer: TrainerClient, namespace: str):
    name = trainer.train(runtime="plain", trainer=CustomTrainer(func=goes_on))
    trainer.wait_for_job_status(name, {"Running"}, timeout=150, polling_interval=1)

    def suspend(value: str) -> None:
        patch = f'{{"spec":{{"suspend":{value}}}}}'
        platform.kubectl("patch", "trainjob", name, "-n", namespace, "--type=merge", "-p", patch)

    suspend("true")
    platform.kubectl("wait", "--for=condition=Suspended", f"trainjob/{name}", "-n", namespace, "--timeout=150s")
    eventually(lambda: not platform.get("pods", "-n", namespace)["items"])
    suspend("false")
    pods = eventually(lambda: platform.get("pods", "-n", namespace)["items"])
    assert len(pods) == 1
    eventually(lambda: [step.status for step in trainer.get_job(name).steps] == ["Running"])
    conditions = platform.get(f"trainjob/{name}", "-n", namespace)["status"]["conditions"]
    assert [(each["type"], each["status"], each["reason"]) for each in conditions] == [
        ("Suspended", "False", "Resumed")
    ]


def test_a_deadline_ends_the_job(platform: Platform, trainer: TrainerClient, namespace: str):
    options = [ActiveDeadlineSeconds(seconds=2)]
    name = trainer.train(runtime="plain", trainer=CustomTrainer(func=goes_on), options=options)
    assert trainer.wait_for_job_status(name, {"Failed"}, timeout=150, polling_interval=1).status == "Failed"
    condition = platform.get(f"trainjob/{name}", "-n", namespace)["status"]["conditions"][-1]
    assert condition["reason"] == "DeadlineExceeded"
    eventually(lambda: not platform.get("pods", "-n", namespace)["items"])


def test_options_reach_the_job_and_its_pods(platform: Platform, trainer: TrainerClient, namespace: str):
    pod = PodSpecPatch(
        containers=[ContainerPatch(name="node", env=[{"name": "FLAVOUR", "value": "plum"}])],
        node_selector={"kubernetes.io/os": "linux"},
    )
    options = [Name("chosen"), Labels({"team": "fruit"}), Annotations({"why": "taste"}), patch_of_pods(pod)]
    custom = CustomTrainer(func=says_what_it_was_told, env={"SIZE": "large"})
    assert trainer.train(runtime="plain", trainer=custom, options=options) == "chosen"
    trainer.wait_for_job_status("chosen", timeout=150, polling_interval=1)
    assert list(trainer.get_job_logs("chosen")) == ["plum large"]
    for kind in ("trainjob", "jobset"):
        metadata = platform.get(f"{kind}/chosen", "-n", namespace)["metadata"]
        assert metadata["labels"]["team"] == "fruit"
        assert metadata["annotations"]["why"] == "taste"
    (found,) = platform.get("pods", "-n", namespace)["items"]
    assert found["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}


def test_an_image_trains_with_its_own_command(trainer: TrainerClient):
    image = CustomTrainerContainer(image="python:3.12", num_nodes=2, env={"WHO": "node"})
    program = "import os, sys; print(os.environ['WHO'], sys.argv[1], sys.version_info[:2])"
    options = [TrainerCommand(["python3", "-c", program]), TrainerArgs(["argued"])]
    name = trainer.train(runtime="plain", trainer=image, options=options)
    trainer.wait_for_job_status(name, timeout=ENVIRONMENT_SECONDS, polling_interval=1)
    for step in ("node-0", "node-1"):
        assert list(trainer.get_job_logs(name, step=step)) == ["node argued (3, 12)"]


def test_a_builtin_trainer_becomes_a_tuning_of_its_runtime_s_model(
    platform: Platform, trainer: TrainerClient, namespace: str
):
    config = TorchTuneConfig(batch_size=2, epochs=3, num_nodes=1, resources_per_node={"gpu": 2})
    sources = Initializer(
        dataset=HuggingFaceDatasetInitializer(storage_uri="hf://tatsu-lab/alpaca/data"),
        model=HuggingFaceModelInitializer(storage_uri="hf://meta-llama/Llama-3.2-1B-Instruct", access_token="hidden"),
    )
    runtime = trainer.get_runtime("torchtune-llama3.2-1b")
    assert runtime.trainer.framework == "torchtune"
    name = trainer.train(runtime=runtime, initializer=sources, trainer=BuiltinTrainer(config=config))
    jobset = eventually(lambda: platform.get("jobsets", "-n", namespace)["items"])[0]
    steps = {each["name"]: each["template"]["spec"] for each in jobset["spec"]["replicatedJobs"]}
    assert list(steps) == ["dataset-initializer", "model-initializer", "node"]
    (node,) = steps["node"]["template"]["spec"]["containers"]
    said = " ".join([*node["command"], *node.get("args", [])])
    assert f"--rdzv_endpoint={name}-node-0-0.{name}:29500" in said
    assert "full_finetune_distributed" in said
    assert {"batch_size=2", "epochs=3"} <= set(said.split())
    (fetch,) = steps["model-initializer"]["template"]["spec"]["containers"]
    told = {each["name"]: each.get("value") for each in fetch["env"]}
    assert (told["STORAGE_URI"], told["ACCESS_TOKEN"]) == ("hf://meta-llama/Llama-3.2-1B-Instruct", "hidden")
    assert [step.name for step in trainer.get_job(name).steps][:2] == ["dataset-initializer", "model-initializer"]
    trainer.delete_job(name)


def test_packages_of_a_runtime_are_told(trainer: TrainerClient, capsys: pytest.CaptureFixture[str]):
    trainer.get_runtime_packages(trainer.get_runtime("plain"))
    assert "Python: 3.11" in capsys.readouterr().out


def test_a_runtime_that_is_not_there_is_refused(trainer: TrainerClient, platform: Platform, namespace: str):
    with pytest.raises(RuntimeError, match="Failed to get Runtime: nowhere"):
        trainer.train(runtime="nowhere", trainer=CustomTrainer(func=counts, func_args={"steps": 1}))
    assert not platform.get("trainjobs", "-n", namespace)["items"]
