"""PipelineSpec and its parts as frozen structs; names and meaning as in pipeline_spec.proto (camelCase on the wire).

An absent message is None or an empty mapping; a parameter value that may be absent is ``msgspec.UNSET``, because null
is a value. Fields that upstream declares but no backend acts on are kept as plain JSON, so that strict reading accepts
every specification the compiler writes.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

ALL_UPSTREAM_TASKS_COMPLETED = "ALL_UPSTREAM_TASKS_COMPLETED"

JSONObject = Mapping[str, Any]
_NONE: Mapping[str, Any] = {}


class Message(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", forbid_unknown_fields=True
):
    """A message of the specification; a field it does not declare is an error that names its path."""


class ParameterType(StrEnum):
    """What a parameter may hold."""

    NUMBER_DOUBLE = "NUMBER_DOUBLE"
    NUMBER_INTEGER = "NUMBER_INTEGER"
    STRING = "STRING"
    BOOLEAN = "BOOLEAN"
    LIST = "LIST"
    STRUCT = "STRUCT"
    TASK_FINAL_STATUS = "TASK_FINAL_STATUS"
    TASK_CONFIG = "TASK_CONFIG"


class ArtifactType(Message, frozen=True):
    """Schema of an artifact: a title such as ``system.Model``, or a schema written out."""

    schema_title: str = ""
    schema_uri: str = ""
    instance_schema: str = ""
    schema_version: str = ""


class InputParameter(Message, frozen=True):
    """Declaration of a component's input parameter."""

    parameter_type: ParameterType = ParameterType.STRING
    type: Any = None
    default_value: Any | UnsetType = UNSET
    is_optional: bool = False
    literals: tuple[Any, ...] = ()
    description: str = ""


class InputArtifact(Message, frozen=True):
    """Declaration of a component's input artifact."""

    artifact_type: ArtifactType = ArtifactType()
    is_artifact_list: bool = False
    is_optional: bool = False
    description: str = ""


class InputDefinitions(Message, frozen=True):
    """What a component takes."""

    parameters: Mapping[str, InputParameter] = _NONE
    artifacts: Mapping[str, InputArtifact] = _NONE


class OutputParameter(Message, frozen=True):
    """Declaration of a component's output parameter."""

    parameter_type: ParameterType = ParameterType.STRING
    type: Any = None
    description: str = ""


class OutputArtifact(Message, frozen=True):
    """Declaration of a component's output artifact."""

    artifact_type: ArtifactType = ArtifactType()
    metadata: JSONObject = _NONE
    properties: JSONObject = _NONE
    custom_properties: JSONObject = _NONE
    is_artifact_list: bool = False
    description: str = ""


class OutputDefinitions(Message, frozen=True):
    """What a component gives."""

    parameters: Mapping[str, OutputParameter] = _NONE
    artifacts: Mapping[str, OutputArtifact] = _NONE


class RuntimeValue(Message, frozen=True):
    """A constant, or (importer only) the name of a component input that holds the value."""

    constant: Any | UnsetType = UNSET
    runtime_parameter: str = ""
    constant_value: Any = None


class TaskOutputParameter(Message, frozen=True):
    """An output parameter of a sibling task."""

    producer_task: str
    output_parameter_key: str


class TaskFinalStatus(Message, frozen=True):
    """How a sibling task ended."""

    producer_task: str


class ParameterInput(Message, frozen=True):
    """Where a task's input parameter comes from: exactly one of the first four, and maybe a part of it."""

    task_output_parameter: TaskOutputParameter | None = None
    runtime_value: RuntimeValue | None = None
    component_input_parameter: str | None = None
    task_final_status: TaskFinalStatus | None = None
    parameter_expression_selector: str = ""


class TaskOutputArtifact(Message, frozen=True):
    """An output artifact of a sibling task."""

    producer_task: str
    output_artifact_key: str


class ArtifactInput(Message, frozen=True):
    """Where a task's input artifact comes from: exactly one of the two."""

    task_output_artifact: TaskOutputArtifact | None = None
    component_input_artifact: str | None = None


class TaskInputs(Message, frozen=True):
    """Sources of all inputs of a task."""

    parameters: Mapping[str, ParameterInput] = _NONE
    artifacts: Mapping[str, ArtifactInput] = _NONE


class NamedInfo(Message, frozen=True):
    """A display name."""

    name: str = ""


class CachingOptions(Message, frozen=True):
    """Whether an earlier execution's outputs may be taken, and under which key."""

    enable_cache: bool = False
    cache_key: str = ""


class TriggerPolicy(Message, frozen=True):
    """When a task starts: its condition (CEL) and whether failed upstreams hold it back."""

    condition: str = ""
    strategy: str = ""


class ParameterItems(Message, frozen=True):
    """A loop's items: a JSON list, or an input that holds one."""

    raw: str = ""
    input_parameter: str = ""


class ParameterIterator(Message, frozen=True):
    """One iteration per item, which the component sees as ``item_input``."""

    items: ParameterItems
    item_input: str


class ArtifactItems(Message, frozen=True):
    """A loop's items: the artifacts of an input."""

    input_artifact: str


class ArtifactIterator(Message, frozen=True):
    """One iteration per artifact, which the component sees as ``item_input``."""

    items: ArtifactItems
    item_input: str


class IteratorPolicy(Message, frozen=True):
    """How many iterations may run at once; 0 is all."""

    parallelism_limit: int = 0


class RetryPolicy(Message, frozen=True):
    """How often a failed task is tried again. Durations are seconds with an ``s``, as in ``30s``."""

    max_retry_count: int = 0
    backoff_duration: str = ""
    backoff_factor: float = 0.0
    backoff_max_duration: str = ""


class TaskSpec(Message, frozen=True):
    """A task of a DAG: a component with its inputs and the rules for running it."""

    component_ref: NamedInfo
    task_info: NamedInfo = NamedInfo()
    inputs: TaskInputs = TaskInputs()
    dependent_tasks: tuple[str, ...] = ()
    caching_options: CachingOptions = CachingOptions()
    trigger_policy: TriggerPolicy = TriggerPolicy()
    parameter_iterator: ParameterIterator | None = None
    artifact_iterator: ArtifactIterator | None = None
    iterator_policy: IteratorPolicy = IteratorPolicy()
    retry_policy: RetryPolicy = RetryPolicy()


class ParameterSelector(Message, frozen=True):
    """An output parameter of a task inside the DAG."""

    producer_subtask: str
    output_parameter_key: str


class ParameterSelectors(Message, frozen=True):
    """The first of these whose task ran."""

    parameter_selectors: tuple[ParameterSelector, ...] = ()


class DagOutputParameter(Message, frozen=True):
    """Where a DAG's output parameter comes from."""

    value_from_parameter: ParameterSelector | None = None
    value_from_oneof: ParameterSelectors | None = None


class ArtifactSelector(Message, frozen=True):
    """An output artifact of a task inside the DAG."""

    producer_subtask: str
    output_artifact_key: str


class DagOutputArtifact(Message, frozen=True):
    """Where a DAG's output artifact comes from: the first of these whose task ran."""

    artifact_selectors: tuple[ArtifactSelector, ...] = ()


class DagOutputs(Message, frozen=True):
    """What a DAG gives."""

    parameters: Mapping[str, DagOutputParameter] = _NONE
    artifacts: Mapping[str, DagOutputArtifact] = _NONE


class DagSpec(Message, frozen=True):
    """Tasks by name, and the outputs that come from them."""

    tasks: Mapping[str, TaskSpec] = _NONE
    outputs: DagOutputs = DagOutputs()


class ComponentSpec(Message, frozen=True):
    """A component: its interface, and either a DAG or the label of an executor."""

    input_definitions: InputDefinitions = InputDefinitions()
    output_definitions: OutputDefinitions = OutputDefinitions()
    dag: DagSpec | None = None
    executor_label: str = ""
    single_platform_specs: tuple[JSONObject, ...] = ()
    task_config_passthroughs: tuple[JSONObject, ...] = ()


class EnvVar(Message, frozen=True):
    """An environment variable of the container."""

    name: str
    value: str = ""


class Accelerator(Message, frozen=True):
    """Devices the container needs; the ``resource_`` pair is the current form, counts come as text."""

    type: str = ""
    count: int | str = 0
    resource_type: str = ""
    resource_count: str = ""


class Resources(Message, frozen=True):
    """What the container needs: Kubernetes quantities (maybe placeholders), or the older numbers (cores, gigabytes)."""

    cpu_limit: float = 0.0
    memory_limit: float = 0.0
    cpu_request: float = 0.0
    memory_request: float = 0.0
    resource_cpu_limit: str = ""
    resource_memory_limit: str = ""
    resource_cpu_request: str = ""
    resource_memory_request: str = ""
    accelerator: Accelerator = Accelerator()


class ContainerSpec(Message, frozen=True):
    """How to run a container; texts may hold placeholders."""

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    resources: Resources = Resources()
    lifecycle: Any = None


class ImporterSpec(Message, frozen=True):
    """An artifact that exists already."""

    artifact_uri: RuntimeValue
    type_schema: ArtifactType = ArtifactType()
    metadata: JSONObject = _NONE
    properties: JSONObject = _NONE
    custom_properties: JSONObject = _NONE
    reimport: bool = False
    download_to_workspace: bool = False


class ExecutorSpec(Message, frozen=True):
    """What runs behind a label: exactly one of these."""

    container: ContainerSpec | None = None
    importer: ImporterSpec | None = None
    resolver: Any = None
    custom_job: Any = None


class DeploymentSpec(Message, frozen=True):
    """Executors by label."""

    executors: Mapping[str, ExecutorSpec] = _NONE


class PipelineInfo(Message, frozen=True):
    """The pipeline's name and words about it."""

    name: str
    display_name: str = ""
    description: str = ""


class PipelineSpec(Message, frozen=True):
    """A whole pipeline."""

    pipeline_info: PipelineInfo
    root: ComponentSpec
    schema_version: str
    sdk_version: str = ""
    deployment_spec: DeploymentSpec = DeploymentSpec()
    components: Mapping[str, ComponentSpec] = _NONE
    default_pipeline_root: str = ""

    def component(self, task: TaskSpec) -> ComponentSpec:
        """The component that a task runs; present in every specification that was read."""
        return self.components[task.component_ref.name]

    def executor(self, component: ComponentSpec) -> ExecutorSpec:
        """What runs a component that is no DAG."""
        return self.deployment_spec.executors[component.executor_label]


CREATE_CLAIM: Final = "argostub/createpvc"
DELETE_CLAIM: Final = "argostub/deletepvc"
"""Images that stand for an operation on a PersistentVolumeClaim; no container of them ever runs."""


def claim_operation(executor: ExecutorSpec) -> str:
    """Which of the two operations on claims an executor is; empty when it is none."""
    image = executor.container.image if executor.container else ""
    return image if image in (CREATE_CLAIM, DELETE_CLAIM) else ""
