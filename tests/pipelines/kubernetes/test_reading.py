"""The platform document: what the SDK compiles is read, what is wrong is named by its field."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl, kubernetes

from ketch.pipelines.ir.reading import SpecError, read
from ketch.pipelines.ir.spec import PipelineSpec
from ketch.pipelines.kubernetes.reading import read_platform
from ketch.pipelines.kubernetes.spec import ExecutorConfig
from ketch.pipelines.structs import plain


@dsl.component(base_image="python:3.11")
def name_it() -> str:
    return "s"


@dsl.component(base_image="python:3.11")
def step():
    pass


@dsl.component(base_image="python:3.11")
def step_of(text: str):
    pass


def documents(pipeline: Any, tmp_path: Path) -> tuple[PipelineSpec, Mapping[str, Any]]:
    target = tmp_path / "p.yaml"
    compiler.Compiler().compile(pipeline, str(target))
    spec, platform = yaml.safe_load_all(target.read_text())
    return read(plain(spec)), plain(platform)


@dsl.pipeline(name="everything")
def everything(text: str = "t", table: dict = {}, items: list = []):  # noqa: B006  # a pipeline's default
    made = name_it()
    task = step()
    kubernetes.use_secret_as_env(task, "s", {"k": "K"})
    kubernetes.use_secret_as_env(task, text, {"k": "L"}, optional=True)
    kubernetes.use_secret_as_volume(task, made.output, "/s")
    kubernetes.use_config_map_as_env(task, text, {"k": "M"})
    kubernetes.use_config_map_as_volume(task, "c", "/c", optional=True)
    kubernetes.use_field_path_as_env(task, "F", "metadata.annotations['x/y']")
    kubernetes.mount_pvc(task, "p", "/p")
    kubernetes.mount_pvc(task, text, "/q", sub_path="a")
    kubernetes.mount_pvc(task, made.output, "/r")
    kubernetes.add_node_selector(task, "disk", "ssd")
    kubernetes.add_node_selector_json(task, table)
    kubernetes.add_node_affinity(task, [{"key": "a", "operator": "In", "values": ["b"]}])
    kubernetes.add_node_affinity(task, match_fields=[{"key": "metadata.name", "operator": "Exists"}], weight=3)
    kubernetes.add_node_affinity_json(task, table)
    kubernetes.add_toleration(task, "k", "Equal", "v", "NoExecute", 10)
    kubernetes.add_toleration_json(task, items)
    kubernetes.add_toleration_json(task, [{"key": "k", "operator": "Exists"}])
    kubernetes.add_pod_label(task, "a/b", "c")
    kubernetes.add_pod_annotation(task, "a", "b")
    kubernetes.set_image_pull_secrets(task, ["x", "y"])
    kubernetes.set_image_pull_policy(task, "IfNotPresent")
    kubernetes.set_timeout(task, 20)
    kubernetes.set_security_context(task, run_as_user=1000, run_as_group=0, run_as_non_root=True)
    kubernetes.empty_dir_mount(task, "e", "/e", "Memory", "1Gi")
    kubernetes.add_ephemeral_volume(task, "g", "/g", ["ReadWriteOnce"], "5Gi", labels={"a": "b"})
    kubernetes.add_ephemeral_volume(task, "h", "/h", ["ReadWriteOnce"], "5Gi", "fast", annotations={"a": "b"})


def test_every_function_of_the_sdk_is_read(tmp_path: Path) -> None:
    """But CreatePVC and DeletePVC, which are components."""
    used = set(everything.pipeline_func.__code__.co_names)
    assert set(kubernetes.__all__) - used == {"CreatePVC", "DeletePVC"}
    pipeline, platform = documents(everything, tmp_path)
    config = read_platform(platform, pipeline)
    executor = config.deployment_spec.executors["exec-step"]
    set_fields = {
        field for field in executor.__struct_fields__ if getattr(executor, field) != getattr(ExecutorConfig(), field)
    }
    not_in_this_sdk = {"pod_affinity", "enabled_shared_memory", "init_containers", "pod_resource_claims"}
    assert set_fields == set(executor.__struct_fields__) - not_in_this_sdk
    assert executor.active_deadline_seconds == "20"
    assert executor.tolerations[0].toleration_seconds == "10"
    assert [each.optional for each in executor.secret_as_env] == [False, True]


@dsl.pipeline(name="inner")
def inner(text: str = "x"):
    kubernetes.use_secret_as_env(step(), text, {"k": "K"})


@dsl.pipeline(name="nested")
def nested(text: str = "t", items: list = []):  # noqa: B006  # a pipeline's default
    made = name_it()
    inner(text=made.output)
    with dsl.If(text == "t"):
        within = name_it()
        task = step()
        kubernetes.use_secret_as_env(task, text, {"k": "K"})
        kubernetes.use_secret_as_volume(task, made.output, "/s")
        kubernetes.mount_pvc(task, within.output, "/p")
    with dsl.ParallelFor(items) as item:
        kubernetes.use_config_map_as_env(step(), item.name, {"k": "K"})
        with dsl.ParallelFor(["a"]) as other:
            kubernetes.mount_pvc(step_of(text=item.name), other, "/p")


def test_what_sub_dags_refer_to_is_known_there(tmp_path: Path) -> None:
    pipeline, platform = documents(nested, tmp_path)
    config = read_platform(platform, pipeline)
    assert len(config.deployment_spec.executors) == 4


def a_platform(**config: Any) -> Mapping[str, Any]:
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-step": config}}}}}


@dsl.pipeline(name="small")
def small(text: str = "t"):
    name_it()
    step()


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> PipelineSpec:
    target = tmp_path_factory.mktemp("small") / "p.yaml"
    compiler.Compiler().compile(small, str(target))
    return read(plain(next(iter(yaml.safe_load_all(target.read_text())))))


MOUNT = {"mountPath": "/m"}
VOLUME = {"volumeName": "v", "accessModes": ["ReadWriteOnce"], "size": "1Gi", **MOUNT}
INIT = {"name": "i", "image": "b"}


@pytest.mark.parametrize(
    ("config", "field", "message"),
    [
        ({"secretAsEnvs": []}, "", "unknown field `secretAsEnvs`"),
        ({"secretAsEnv": [{"keyToEnv": [{"secretkey": "k"}]}]}, "secretAsEnv.0.keyToEnv.0", "unknown field"),
        ({"secretAsEnv": 3}, "secretAsEnv", "Expected `array`"),
        ({"secretAsEnv": [{}]}, "secretAsEnv.0", "must have secretNameParameter"),
        ({"secretAsVolume": [MOUNT]}, "secretAsVolume.0", "must have secretNameParameter"),
        ({"imagePullSecret": [{}]}, "imagePullSecret.0", "must have secretNameParameter"),
        ({"configMapAsEnv": [{}]}, "configMapAsEnv.0", "must have configMapNameParameter"),
        ({"configMapAsVolume": [MOUNT]}, "configMapAsVolume.0", "must have configMapNameParameter"),
        ({"pvcMount": [MOUNT]}, "pvcMount.0", "must have pvcNameParameter"),
        (
            {"secretAsEnv": [{"secretName": "s", "keyToEnv": [{"secretKey": "k", "envVar": "A=B"}]}]},
            "secretAsEnv.0.keyToEnv.0.envVar",
            "'A=B' is no name",
        ),
        (
            {"configMapAsEnv": [{"configMapName": "s", "keyToEnv": [{"envVar": "A"}]}]},
            "configMapAsEnv.0.keyToEnv.0.configMapKey",
            "must name a key",
        ),
        ({"fieldPathAsEnv": [{"name": "A", "fieldPath": "spec.x"}]}, "fieldPathAsEnv.0.fieldPath", "'spec.x' is none"),
        ({"secretAsVolume": [{"secretName": "s", "mountPath": "m"}]}, "secretAsVolume.0.mountPath", "absolute path"),
        (
            {"secretAsVolume": [{"secretName": "s", **MOUNT}], "emptyDirMounts": [{"volumeName": "e", **MOUNT}]},
            "emptyDirMounts.0.mountPath",
            "/m is taken by secretAsVolume.0.mountPath",
        ),
        (
            {"enabledSharedMemory": {}, "emptyDirMounts": [{"volumeName": "e", "mountPath": "/dev/shm/"}]},
            "emptyDirMounts.0.mountPath",
            "is taken by enabledSharedMemory",
        ),
        ({"pvcMount": [{"constant": "c", "subPath": "../x", **MOUNT}]}, "pvcMount.0.subPath", "must be relative"),
        ({"emptyDirMounts": [{"volumeName": "E_", **MOUNT}]}, "emptyDirMounts.0.volumeName", "lower case letters"),
        ({"emptyDirMounts": [{"volumeName": "e", "medium": "Disk", **MOUNT}]}, "emptyDirMounts.0.medium", "neither"),
        ({"emptyDirMounts": [{"volumeName": "e", "sizeLimit": "x", **MOUNT}]}, "emptyDirMounts.0.sizeLimit", "'x' is"),
        ({"enabledSharedMemory": {"size": "?"}}, "enabledSharedMemory.size", "no quantity such as"),
        ({"genericEphemeralVolume": [{**VOLUME, "size": ""}]}, "genericEphemeralVolume.0.size", "no quantity"),
        ({"genericEphemeralVolume": [{**VOLUME, "accessModes": []}]}, "genericEphemeralVolume.0.accessModes", "least"),
        (
            {"genericEphemeralVolume": [{**VOLUME, "accessModes": ["RWO"]}]},
            "genericEphemeralVolume.0.accessModes",
            "RWO",
        ),
        (
            {"genericEphemeralVolume": [VOLUME, {**VOLUME, "mountPath": "/n"}]},
            "genericEphemeralVolume.1.volumeName",
            "'v' is taken",
        ),
        ({"tolerations": [{"operator": "Is"}]}, "tolerations.0.operator", "'Is' is none of Equal, Exists"),
        ({"tolerations": [{"value": "v"}]}, "tolerations.0.operator", "must be Exists when there is no key"),
        ({"tolerations": [{"key": "k", "effect": "No"}]}, "tolerations.0.effect", "'No' is none of"),
        ({"tolerations": [{"key": "k", "tolerationSeconds": "x"}]}, "tolerations.0.tolerationSeconds", "whole number"),
        (
            {"nodeAffinity": [{"matchExpressions": [{"key": "k", "operator": "is"}]}]},
            "nodeAffinity.0.matchExpressions.0.operator",
            "'is' is none of",
        ),
        (
            {"nodeAffinity": [{"matchFields": [{"operator": "In"}]}]},
            "nodeAffinity.0.matchFields.0.key",
            "must not be empty",
        ),
        ({"nodeAffinity": [{"weight": 101}]}, "nodeAffinity.0.weight", "101 is not between 1 and 100"),
        ({"podAffinity": [{}]}, "podAffinity.0.topologyKey", "must name a label"),
        ({"podResourceClaims": [{}]}, "podResourceClaims.0", "is not supported"),
        ({"imagePullPolicy": "Sometimes"}, "imagePullPolicy", "'Sometimes' is none of Always, Never, IfNotPresent"),
        ({"activeDeadlineSeconds": -1}, "activeDeadlineSeconds", "must be 0 or more"),
        ({"securityContext": {"runAsUser": "root"}}, "securityContext.runAsUser", "no whole number"),
        (
            {"podMetadata": {"labels": {"pipelines.kubeflow.org/run-id": "x"}}},
            "podMetadata.labels.pipelines.kubeflow.org/run-id",
            "the platform's own",
        ),
        ({"initContainers": [{**INIT, "name": "main"}]}, "initContainers.0.name", "'main' is taken"),
        ({"initContainers": [INIT, INIT]}, "initContainers.1.name", "'i' is taken"),
        ({"initContainers": [{**INIT, "name": ""}]}, "initContainers.0.name", "lower case letters"),
        ({"initContainers": [{**INIT, "image": ""}]}, "initContainers.0.image", "must name an image"),
        (
            {"initContainers": [{**INIT, "restartPolicy": "Never"}]},
            "initContainers.0.restartPolicy",
            "'Never' is unknown",
        ),
        ({"initContainers": [{**INIT, "env": [{}]}]}, "initContainers.0.env.0.name", "is no name"),
        (
            {"initContainers": [{**INIT, "resources": {"limits": {"cpu": "much"}}}]},
            "initContainers.0.resources.limits.cpu",
            "no quantity",
        ),
        (
            {"initContainers": [{**INIT, "volumeMounts": [{"volumeName": "v", "mountPath": "m"}]}]},
            "initContainers.0.volumeMounts.0.mountPath",
            "absolute path",
        ),
        ({"secretAsEnv": [{"secretNameParameter": {}}]}, "secretAsEnv.0", "must have exactly one of"),
        (
            {"secretAsEnv": [{"secretNameParameter": {"componentInputParameter": "other"}}]},
            "secretAsEnv.0",
            "there is no input parameter 'other' around the task",
        ),
        (
            {"pvcMount": [{"taskOutputParameter": {"producerTask": "x", "outputParameterKey": "y"}, **MOUNT}]},
            "pvcMount.0",
            "there is no task 'x'",
        ),
        (
            {"pvcMount": [{"taskOutputParameter": {"producerTask": "name-it", "outputParameterKey": "y"}, **MOUNT}]},
            "pvcMount.0",
            "the task must wait for 'name-it'",
        ),
        (
            {"imagePullSecret": [{"secretNameParameter": {"runtimeValue": {"constant": "{{channel:task=;name=x;}}"}}}]},
            "imagePullSecret.0",
            "the compiler does not resolve f-strings here",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_field(
    pipeline: PipelineSpec, config: Mapping[str, Any], field: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message.replace("(", r"\(").replace("?", r"\?")) as caught:
        read_platform(a_platform(**config), pipeline)
    path = "platforms.kubernetes.deploymentSpec.executors.exec-step"
    assert caught.value.field == (f"{path}.{field}" if field else path)


@pytest.mark.parametrize(
    ("platform", "field"),
    [
        ({"platforms": 3}, "platforms"),
        ({"platforms": {"kubernetes": 3}}, "platforms.kubernetes"),
        ({"platforms": {"kubernetes": {"deployment": {}}}}, "platforms.kubernetes"),
        (
            {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-x": {}}}}}},
            "platforms.kubernetes.deploymentSpec.executors.exec-x",
        ),
    ],
)
def test_a_document_of_another_shape_is_named(pipeline: PipelineSpec, platform: Any, field: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_platform(platform, pipeline)
    assert caught.value.field == field


@pytest.mark.parametrize("platform", [None, {}, {"platforms": {}}, {"platforms": {"other": {"deploymentSpec": 3}}}])
def test_no_document_and_other_platforms_ask_for_nothing(pipeline: PipelineSpec, platform: Any) -> None:
    assert not read_platform(platform, pipeline).deployment_spec.executors


def refused(setting: Callable[[Any, Any], Any], tmp_path: Path) -> str:
    """What is said about a pipeline whose step has ``setting``."""

    @dsl.pipeline(name="refused")
    def refusing(text: str = "t"):
        setting(step(), text)

    pipeline, platform = documents(refusing, tmp_path)
    with pytest.raises(SpecError) as caught:
        read_platform(platform, pipeline)
    return str(caught.value)


def test_an_f_string_is_refused_with_what_to_do(tmp_path: Path) -> None:
    said = refused(lambda task, text: kubernetes.use_secret_as_env(task, f"s-{text}", {"k": "K"}), tmp_path)
    assert "give the parameter or output itself" in said
