"""Beyond a single step: the workspace, TaskConfig, the pipeline's own configuration, notebooks, embedded files."""

from pathlib import Path

from kfp import dsl, kubernetes
from kfp.dsl import Dataset, Output
from tests.e2e.pipelines.conformance.cases import FAILED, SUCCEEDED, Expect, Family
from tests.e2e.pipelines.conformance.driving import Driver
from tests.e2e.pipelines.conformance.settings import pod_of
from tests.e2e.pipelines.conformance.steps import light, read, say

family = Family("sharing")

WORKSPACE = dsl.PipelineConfig(workspace=dsl.WorkspaceConfig(size="20Mi"))


@light
def put(path: str, text: str) -> str:
    import os

    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "file"), "a") as file:
        file.write(text)
    return path


@light
def get(path: str) -> str:
    import os

    return open(os.path.join(path, "file")).read()


@family.case(
    Expect(outputs={"get.Output": "ab", "put.Output": "/kfp-workspace/shared", "get-2.Output": "c"}),
)
@dsl.pipeline(name="a-workspace", pipeline_config=WORKSPACE)
def a_workspace():
    shared = f"{dsl.WORKSPACE_PATH_PLACEHOLDER}/shared"
    first = put(path=shared, text="a")
    second = put(path=shared, text="b").after(first)
    get(path=shared).after(second)
    other = put(path=dsl.WORKSPACE_PATH_PLACEHOLDER, text="c")
    get(path=dsl.WORKSPACE_PATH_PLACEHOLDER).after(other)


@dsl.pipeline(name="no-workspace", pipeline_config=WORKSPACE)
def no_workspace():
    put(path=dsl.WORKSPACE_PATH_PLACEHOLDER, text="a")


@family.scenario
def a_pipeline_without_a_workspace_cannot_use_it(driver: Driver) -> None:
    """The compiler refuses it as well, so the part that declares the workspace is taken away."""
    import kfp_server_api
    import pytest
    import yaml

    package = driver.compile(no_workspace)
    with open(package) as file:
        spec = next(iter(yaml.safe_load_all(file)))
    target = package.replace(".yaml", "-bare.yaml")
    with open(target, "w") as file:
        yaml.safe_dump(spec, file)
    with pytest.raises(kfp_server_api.ApiException, match="uses the workspace, but the pipeline has none"):
        driver.client.create_run_from_pipeline_package(target, arguments={})


PASSED = [
    dsl.TaskConfigField.RESOURCES,
    dsl.TaskConfigField.KUBERNETES_TOLERATIONS,
    dsl.TaskConfigField.KUBERNETES_NODE_SELECTOR,
    dsl.TaskConfigField.KUBERNETES_AFFINITY,
    dsl.TaskConfigPassthrough(field=dsl.TaskConfigField.ENV, apply_to_task=True),
    dsl.TaskConfigPassthrough(field=dsl.TaskConfigField.KUBERNETES_VOLUMES, apply_to_task=True),
]


@dsl.component(base_image="python:3.11", install_kfp_package=False, task_config_passthroughs=PASSED)
def configured(task_config: dsl.TaskConfig) -> dict:
    import os

    return {
        "resources": task_config.resources,
        "tolerations": task_config.tolerations,
        "node_selector": task_config.node_selector,
        "env": task_config.env,
        "volumes": [sorted(each) for each in task_config.volumes],
        "mounts": [each["mountPath"] for each in task_config.volume_mounts],
        "own": [os.environ.get("COLOUR"), os.path.exists("/mnt/config")],
    }


@dsl.pipeline(name="task-config")
def task_config():
    task = configured().set_cpu_limit("2").set_memory_limit("1Gi").set_env_variable("COLOUR", "blue")
    kubernetes.add_toleration(task, "k", "Exists", effect="NoSchedule")
    kubernetes.add_node_selector(task, "no", "node")
    kubernetes.use_config_map_as_volume(task, "conformance-passed", "/mnt/config", optional=True)
    kubernetes.empty_dir_mount(task, "scratch", "/scratch")


@family.scenario
def a_task_config_gets_what_the_pod_does_not(driver: Driver) -> None:
    seen = driver.run(task_config)
    assert seen.run.state == SUCCEEDED, seen.story()
    found = seen.output("configured.Output")
    assert found["resources"]["limits"] == {"cpu": "2", "memory": "1Gi"}
    assert found["tolerations"] == [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}]
    assert found["node_selector"] == {"no": "node"}
    assert {"name": "COLOUR", "value": "blue"} in found["env"]
    assert found["volumes"] == [["configMap", "name"]]
    assert found["mounts"] == ["/mnt/config"]
    assert found["own"] == ["blue", True]
    spec = pod_of(driver, seen, "configured")["spec"]
    assert "nodeSelector" not in spec
    assert "limits" not in spec["containers"][0].get("resources", {})


NOTEBOOK = str(Path(__file__).with_name("doubling.ipynb"))


@dsl.notebook_component(notebook_path=NOTEBOOK, base_image="python:3.11")
def doubled(number: int, data: Output[Dataset]):
    dsl.run_notebook(number=number, target=data.path)


@family.case(Expect(outputs={"read.Output": "42"}))
@dsl.pipeline(name="a-notebook")
def a_notebook():
    read(data=doubled(number=21).outputs["data"])


EMBEDDED = str(Path(__file__).with_name("embedded"))


@dsl.component(base_image="python:3.11", embedded_artifact_path=EMBEDDED)
def embedded(files: dsl.EmbeddedInput[Dataset]) -> dict:
    import os

    return {name: open(os.path.join(files.path, name)).read().strip() for name in sorted(os.listdir(files.path))}


@family.case(Expect(outputs={"embedded.Output": {"one.txt": "1", "two.txt": "2"}}))
@dsl.pipeline(name="embedded-files")
def embedded_files():
    embedded()


@light
def linger() -> str:
    import time

    time.sleep(300)
    return "late"


@family.case(Expect(FAILED, absent=("say",), run_error="DeadlineExceeded"))
@dsl.pipeline(name="a-deadline-for-the-run", pipeline_config=dsl.PipelineConfig(active_deadline_seconds=2))
def a_deadline():
    say(text=linger().output)


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def custom(data: Output[Dataset], text: str = "x"):
    data.custom_path = "/tmp/own/place"
    import os

    os.makedirs("/tmp/own", exist_ok=True)
    with open(data.path, "w") as file:
        file.write(text)


@family.case(Expect(outputs={"read.Output": "x"}))
@dsl.pipeline(name="an-artifact-at-a-place-of-the-users-own")
def custom_path():
    read(data=custom().outputs["data"])
