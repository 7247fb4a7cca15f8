"""What makes an execution the same as another."""

from collections.abc import Sequence
from typing import Any

from ketch.pipelines.caching import cache_key
from ketch.pipelines.engine.nodes import Node
from ketch.pipelines.ir.spec import (
    CachingOptions,
    ComponentSpec,
    ContainerSpec,
    DeploymentSpec,
    EnvVar,
    ExecutorSpec,
    InputDefinitions,
    InputParameter,
    NamedInfo,
    ParameterType,
    PipelineInfo,
    PipelineSpec,
    Resources,
    TaskSpec,
)
from ketch.pipelines.values import Artifact, Values

COMPONENT = ComponentSpec(executor_label="e")
CONFIG = InputParameter(parameter_type=ParameterType.TASK_CONFIG)
TOLD = ComponentSpec(executor_label="e", input_definitions=InputDefinitions(parameters={"config": CONFIG}))


def a_key(
    inputs: Values = Values(),  # noqa: B008  # frozen
    *,
    enabled: bool = True,
    custom: str = "",
    component: str = "comp-a",
    pipeline: str = "p",
    namespace: str = "ns",
    claims: Sequence[str] = (),
    told: bool = False,
    **container: Any,
) -> str:
    executor = ExecutorSpec(container=ContainerSpec(**{"image": "i", "args": ("{{$}}",), **container}))
    spec = PipelineSpec(
        pipeline_info=PipelineInfo(name=pipeline),
        schema_version="2.1.0",
        root=ComponentSpec(),
        deployment_spec=DeploymentSpec(executors={"e": executor}),
    )
    options = CachingOptions(enable_cache=enabled, cache_key=custom)
    task = TaskSpec(component_ref=NamedInfo(name=component), caching_options=options)
    node = Node("id", "root/a", "a", "container", TOLD if told else COMPONENT, task)
    node.inputs = inputs
    return cache_key(spec, node, namespace, claims)


def artifact(identity: str) -> Values:
    return Values({}, {"d": (Artifact(id=identity, name="d", type="t", uri="u"),)})


def test_whatever_changes_the_outcome_changes_the_key() -> None:
    keys = [
        a_key(),
        a_key(Values({"n": 1})),
        a_key(Values({"n": 2})),
        a_key(Values({"m": 1})),
        a_key(artifact("1")),
        a_key(artifact("2")),
        a_key(image="j"),
        a_key(command=("x",)),
        a_key(pipeline="q"),
        a_key(namespace="other"),
        a_key(custom="k"),
        a_key(custom="k", component="comp-b"),
        a_key(claims=["one"]),
        a_key(claims=["one", "two"]),
        a_key(told=True),
        a_key(told=True, env=(EnvVar(name="A", value="1"),)),
        a_key(told=True, resources=Resources(resource_cpu_limit="2")),
    ]
    assert len(set(keys)) == len(keys)


def test_the_same_step_has_the_same_key() -> None:
    assert a_key(Values({"a": 1, "b": [1.0]})) == a_key(Values({"b": [1], "a": 1.0}))
    assert a_key() == a_key(env=(EnvVar(name="A", value="1"),), resources=Resources(resource_cpu_limit="2"))
    assert a_key(Values({"a": 1}), custom="k") == a_key(custom="k", image="j")


def test_caching_can_be_switched_off() -> None:
    assert a_key(enabled=False) == a_key(enabled=False, custom="k") == ""
