# ruff: noqa: PTH103, PTH112, PTH120, PTH123, UP045  # components are written as users write them
"""Claims: the workspace of a run, those that pipelines make and delete, and what a TaskConfig says of them."""

from typing import Any, Optional

import pytest
from kfp import dsl, kubernetes
from kfp.dsl import Dataset, Input, Output

from ketch.kube.meta import ObjectMeta
from ketch.kube.types.containers import ResourceRequirements
from ketch.kube.types.core import PersistentVolumeClaim
from ketch.kube.types.volumes import ClaimSpec
from ketch.pipelines.records.states import CACHED, FAILED, SUCCEEDED

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
Stage = Any
NAMESPACE = "kubeflow"
WORKSPACE = dsl.PipelineConfig(
    workspace=dsl.WorkspaceConfig(
        size="2Gi", kubernetes=dsl.KubernetesWorkspaceConfig(pvcSpecPatch={"accessModes": ["ReadWriteMany"]})
    )
)


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def write(path: str, text: str) -> str:
    import os  # noqa: PLC0415  # the function travels alone

    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    return path


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def read(path: str) -> str:
    with open(path) as file:
        return file.read()


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def read_data(data: Input[Dataset]) -> str:
    with open(data.path) as file:
        return f"{data.path}: {file.read()}"


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def make(data: Output[Dataset]) -> None:
    with open(data.path, "w") as file:
        file.write("x")


@dsl.pipeline(name="inner")
def inner(path: str) -> str:
    return read(path=path).output


@dsl.pipeline(name="shared", pipeline_config=WORKSPACE)
def shared() -> str:
    written = write(path=f"{dsl.WORKSPACE_PATH_PLACEHOLDER}/a/b", text="in the workspace")
    make()
    return inner(path=written.output).output


async def claims(stage: Stage) -> list[PersistentVolumeClaim]:
    return list((await stage.manager.client.list(PersistentVolumeClaim, NAMESPACE)).items)


async def test_tasks_share_the_workspace_and_it_goes_with_the_run(stage: Stage) -> None:
    run, tasks = await stage.run(shared)
    assert run.error is None
    assert tasks["root"].outputs["parameters"] == {"Output": "in the workspace"}
    (claim,) = await claims(stage)
    assert claim.spec.access_modes == ("ReadWriteMany",)
    assert claim.spec.resources.requests == {"storage": "2Gi"}
    mounts = {
        pod.metadata.annotations["pipelines.kubeflow.org/task-path"]: "/kfp-workspace"
        in {mount.mount_path for mount in pod.spec.containers[0].volume_mounts}
        for pod in await stage.pods(run.id)
    }
    assert mounts == {"root/write": True, "root/make": False, "root/inner/read": True}
    await stage.delete(run.id)

    async def gone() -> bool:
        return not await claims(stage) and not await stage.pods(run.id)

    await stage.until(gone)


async def test_imported_data_is_put_into_the_workspace(stage: Stage) -> None:
    there = stage.directory / "objects" / "lake" / "raw.csv"
    there.parent.mkdir(parents=True)
    there.write_text("raw")

    @dsl.pipeline(name="downloading", pipeline_config=WORKSPACE)
    def downloading() -> str:
        raw = dsl.importer("s3://lake/raw.csv", Dataset, metadata={"n": 1}, download_to_workspace=True)
        return read_data(data=raw.output).output

    run, tasks = await stage.run(downloading)
    assert run.error is None
    assert tasks["root"].outputs["parameters"] == {"Output": "/kfp-workspace/.artifacts/s3/lake/raw.csv: raw"}
    links = await stage.artifacts.of_run(run.id)
    assert {link.role for link, _ in links} == {"INPUT", "OUTPUT"}
    assert {tuple(artifact.properties.items()) for _, artifact in links} == {(("n", 1), ("_kfp_workspace", True))}
    there.unlink()
    failed, _ = await stage.run(downloading)
    assert "there is no data at s3://lake/raw.csv" in failed.error["message"]


@dsl.pipeline(name="claiming")
def claiming(name: str = "data") -> str:
    made = kubernetes.CreatePVC(access_modes=["ReadWriteOnce"], size="1Gi", pvc_name=name)
    written = write(path="/data/x", text="on the claim")
    kubernetes.mount_pvc(written, pvc_name=made.outputs["name"], mount_path="/data")
    found = read(path=written.output)
    kubernetes.mount_pvc(found, pvc_name=made.outputs["name"], mount_path="/data")
    kubernetes.DeletePVC(pvc_name=made.outputs["name"]).after(found)
    return found.output


async def test_claims_are_made_mounted_and_deleted(stage: Stage) -> None:
    run, tasks = await stage.run(claiming)
    assert run.error is None
    assert tasks["root"].outputs["parameters"] == {"Output": "on the claim"}
    assert tasks["root/createpvc"].outputs["parameters"] == {"name": "data"}
    assert tasks["root/createpvc"].started_at
    assert not tasks["root/createpvc"].pod_name
    assert await claims(stage) == []
    again, more = await stage.run(claiming)
    assert again.state == SUCCEEDED
    assert more["root/createpvc"].state == SUCCEEDED  # the claim of the first run is gone
    assert more["root/read"].state == CACHED
    assert await claims(stage) == []


async def test_a_claim_that_is_still_there_is_not_made_again(stage: Stage) -> None:
    @dsl.pipeline(name="keeping")
    def keeping() -> str:
        return kubernetes.CreatePVC(access_modes=["ReadWriteOnce"], size="1Gi", pvc_name_suffix="-kept").outputs["name"]

    run, tasks = await stage.run(keeping)
    name = tasks["root"].outputs["parameters"]["Output"]
    assert name.endswith("-kept")
    _, again = await stage.run(keeping)
    assert again["root/createpvc"].state == CACHED
    assert again["root"].outputs["parameters"] == {"Output": name}
    await stage.delete(run.id)
    assert [claim.metadata.name for claim in await claims(stage)] == [name]  # such a claim outlives its run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"pvc_name": "taken"}, 'the claim "taken" exists already', id="exists"),
        pytest.param({"pvc_name": "a", "pvc_name_suffix": "b"}, "pvc_name and pvc_name_suffix", id="two names"),
        pytest.param({"size": "much"}, 'size: "much" is no quantity', id="size"),
        pytest.param({"access_modes": []}, "access_modes: must be a list", id="modes"),
        pytest.param({"pvc_name": "No/Name"}, 'the claim "No/Name" was refused: ', id="name"),
    ],
)
async def test_claims_that_cannot_be_made(stage: Stage, arguments: dict[str, Any], message: str) -> None:
    taken = PersistentVolumeClaim(
        metadata=ObjectMeta(name="taken", namespace=NAMESPACE),
        spec=ClaimSpec(access_modes=("ReadWriteOnce",), resources=ResourceRequirements(requests={"storage": "1Gi"})),
    )
    await stage.manager.client.create(taken)

    @dsl.pipeline(name="refused")
    def refused() -> None:
        kubernetes.CreatePVC(**{"access_modes": ["ReadWriteOnce"], "size": "1Gi", **arguments})

    run, tasks = await stage.run(refused)
    assert tasks["root/createpvc"].state == FAILED
    assert message in run.error["message"]


class Dying:
    """A client whose ``nth`` write is done, and then everything ends as if killed."""

    def __init__(self, real: Any, nth: int) -> None:
        self.real, self.left = real, nth

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.real, name)
        if name not in ("create", "delete"):
            return method

        async def dying(*arguments: Any, **options: Any) -> Any:
            done = await method(*arguments, **options)
            self.left -= 1
            if self.left == 0:
                raise ConnectionError("as if killed")
            return done

        return dying


@pytest.mark.parametrize("nth", range(1, 6))
async def test_a_crash_after_any_write_to_the_cluster_repeats_nothing(open_stage: Any, nth: int) -> None:
    @dsl.pipeline(name="crashing", pipeline_config=WORKSPACE)
    def crashing() -> str:
        made = kubernetes.CreatePVC(access_modes=["ReadWriteOnce"], size="1Gi", pvc_name="data")
        written = write(path=f"{dsl.WORKSPACE_PATH_PLACEHOLDER}/x", text="x").after(made)
        deleted = kubernetes.DeletePVC(pvc_name=made.outputs["name"]).after(written)
        return read(path=written.output).after(deleted).output

    async with open_stage(shaky=lambda real: Dying(real, nth)) as stage:
        run, tasks = await stage.run(crashing)
        assert run.error is None
        assert tasks["root"].outputs["parameters"] == {"Output": "x"}
        assert len(stage.player.played) == len(set(stage.player.played)) == 2
        assert {task.attempt for task in tasks.values()} == {0}
        assert [claim.metadata.name for claim in await claims(stage)] == [f"workspace-{run.id}"]


@dsl.component(
    install_kfp_package=False,
    base_image="python:3.11",
    task_config_passthroughs=[
        dsl.TaskConfigField.RESOURCES,
        dsl.TaskConfigField.KUBERNETES_TOLERATIONS,
        dsl.TaskConfigField.KUBERNETES_NODE_SELECTOR,
        dsl.TaskConfigPassthrough(field=dsl.TaskConfigField.ENV, apply_to_task=True),
        dsl.TaskConfigPassthrough(field=dsl.TaskConfigField.KUBERNETES_VOLUMES, apply_to_task=True),
    ],
)
def configured(path: str, config: dsl.TaskConfig, note: Optional[str] = None) -> dict:
    import os  # noqa: PLC0415

    return {
        "resources": config.resources,
        "node_selector": config.node_selector,
        "tolerations": config.tolerations,
        "affinity": config.affinity,
        "env": [variable["name"] for variable in config.env],
        "mounts": [mount["mountPath"] for mount in config.volume_mounts],
        "volumes": [volume["persistentVolumeClaim"]["claimName"] for volume in config.volumes],
        "mine": os.environ.get("MINE"),
        "workspace": os.path.isdir(path),
        "note": note,
    }


async def test_a_task_config_says_what_the_task_was_given(stage: Stage) -> None:
    @dsl.pipeline(name="passing", pipeline_config=WORKSPACE)
    def passing() -> dict:
        task = configured(path=dsl.WORKSPACE_PATH_PLACEHOLDER)
        task.set_cpu_request("1").set_memory_limit("2Gi").set_env_variable("MINE", "here")
        task.set_accelerator_type("example.com/gpu").set_accelerator_limit(4)
        kubernetes.add_node_selector(task, "disk", "fast")
        kubernetes.add_toleration(task, key="k", operator="Exists")
        return task.output

    run, tasks = await stage.run(passing)
    assert run.error is None
    assert tasks["root"].outputs["parameters"]["Output"] == {
        "resources": {"limits": {"memory": "2Gi", "example.com/gpu": "4"}, "requests": {"cpu": "1"}},
        "node_selector": {"disk": "fast"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "affinity": None,
        "env": ["MINE"],
        "mounts": ["/kfp-workspace"],
        "volumes": [f"workspace-{run.id}"],
        "mine": "here",
        "workspace": True,
        "note": None,
    }
    (pod,) = await stage.pods(run.id)
    assert pod.spec.containers[0].resources == ResourceRequirements()  # another pod is to have them
    assert pod.spec.node_selector == {}
