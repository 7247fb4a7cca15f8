"""Messages of tasks and artifacts as KFP 3 has them; clients of KFP 2 do not ask for these."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from ketch.pipelines.api.messages import ChildTask, LongInteger, Status, Timestamp
from ketch.pipelines.api.wire import Enum, Message

ArtifactType = Annotated[
    str,
    Enum(
        {
            0: "TYPE_UNSPECIFIED",
            1: "Artifact",
            2: "Model",
            3: "Dataset",
            4: "HTML",
            5: "Markdown",
            6: "Metric",
            7: "ClassificationMetric",
            8: "SlicedClassificationMetric",
        }
    ),
]
IO_TYPES = {
    0: "UNSPECIFIED",
    1: "COMPONENT_DEFAULT_INPUT",
    2: "TASK_OUTPUT_INPUT",
    3: "COMPONENT_INPUT",
    4: "RUNTIME_VALUE_INPUT",
    5: "COLLECTED_INPUTS",
    6: "ITERATOR_INPUT",
    7: "ITERATOR_INPUT_RAW",
    8: "ITERATOR_OUTPUT",
    9: "OUTPUT",
    10: "ONE_OF_OUTPUT",
    11: "TASK_FINAL_STATUS_OUTPUT",
}
IOType = Annotated[str, Enum(IO_TYPES)]
TaskState = Annotated[
    str,
    Enum({0: "RUNTIME_STATE_UNSPECIFIED", 1: "RUNNING", 2: "SUCCEEDED", 3: "SKIPPED", 4: "FAILED", 5: "CACHED"}),
]
TaskType = Annotated[
    str,
    Enum(
        {
            0: "TASK_TYPE_UNSPECIFIED",
            1: "ROOT",
            2: "RUNTIME",
            3: "CONDITION_BRANCH",
            4: "CONDITION",
            5: "LOOP",
            6: "EXIT_HANDLER",
            7: "IMPORTER",
            8: "DAG",
        }
    ),
]
PodType = Annotated[str, Enum({0: "TASK_POD_TYPE_UNSPECIFIED", 1: "DRIVER", 2: "EXECUTOR"})]


class Artifact(Message):
    """One piece of data: what it is, where it is, what its maker says of it."""

    artifact_id: str = ""
    name: str = ""
    description: str = ""
    type: ArtifactType = ""
    uri: str = ""
    metadata: Mapping[str, Any] | None = None
    number_value: float | None = None
    created_at: Timestamp = ""
    namespace: str = ""


class ListArtifactsResponse(Message):
    """One page of artifacts."""

    artifacts: Sequence[Artifact] = ()
    total_size: int = 0
    next_page_token: str = ""


class IOProducer(Message):
    """The task that a value came from."""

    task_name: str = ""
    iteration: LongInteger = ""


class ArtifactTask(Message):
    """A task read or made an artifact."""

    id: str = ""
    artifact_id: str = ""
    run_id: str = ""
    task_id: str = ""
    type: IOType = ""
    producer: IOProducer | None = None
    key: str = ""


class ListArtifactTasksResponse(Message):
    """One page of links between artifacts and tasks."""

    artifact_tasks: Sequence[ArtifactTask] = ()
    total_size: int = 0
    next_page_token: str = ""


class IOParameter(Message):
    """A parameter's value."""

    value: Any = None
    type: IOType = ""
    parameter_key: str = ""
    producer: IOProducer | None = None


class IOArtifact(Message):
    """The artifacts of one input or output."""

    artifacts: Sequence[Artifact] = ()
    type: IOType = ""
    artifact_key: str = ""
    producer: IOProducer | None = None


class InputOutputs(Message):
    """All that went into a task, or came out of it."""

    parameters: Sequence[IOParameter] = ()
    artifacts: Sequence[IOArtifact] = ()


class TaskPod(Message):
    """A pod that ran the task."""

    name: str = ""
    uid: str = ""
    type: PodType = ""


class StatusMetadata(Message):
    """Words about the state."""

    message: str = ""
    custom_properties: Mapping[str, Any] | None = None


class TaskStatus(Message):
    """One state that the task was in."""

    update_time: Timestamp = ""
    state: TaskState = ""
    error: Status | None = None


class TypeAttributes(Message):
    """What only loops and their iterations have."""

    iteration_index: LongInteger = ""
    iteration_count: LongInteger = ""
    download_to_workspace: bool = False


class PipelineTask(Message):
    """One task of a run with its values."""

    task_id: str = ""
    run_id: str = ""
    name: str = ""
    display_name: str = ""
    pods: Sequence[TaskPod] = ()
    cache_fingerprint: str = ""
    create_time: Timestamp = ""
    end_time: Timestamp = ""
    state: TaskState = ""
    status_metadata: StatusMetadata | None = None
    state_history: Sequence[TaskStatus] = ()
    type: TaskType = ""
    type_attributes: TypeAttributes | None = None
    parent_task_id: str = ""
    child_tasks: Sequence[ChildTask] = ()
    inputs: InputOutputs | None = None
    outputs: InputOutputs | None = None


class ListTasksResponse(Message):
    """One page of a run's tasks."""

    tasks: Sequence[PipelineTask] = ()
    total_size: int = 0
    next_page_token: str = ""


class UpdateTasksBulkRequest(Message):
    """Changes of several of a run's tasks, by id: all are made or none."""

    tasks: Mapping[str, PipelineTask] | None = None


class UpdateTasksBulkResponse(Message):
    """The tasks as they are now."""

    tasks: Mapping[str, PipelineTask] | None = None


class FindCachedTaskRequest(Message):
    """Which task's outputs may be taken instead of running one like it."""

    namespace: str = ""
    cache_fingerprint: str = ""


class FindCachedTaskResponse(Message):
    """The newest such task, if there is one."""

    task: PipelineTask | None = None


class CreateArtifactRequest(Message):
    """An artifact, and the task that made it as its output ``producer_key``."""

    artifact: Artifact | None = None
    run_id: str = ""
    task_id: str = ""
    producer_key: str = ""
    iteration_index: LongInteger = ""
    type: IOType = ""


class CreateArtifactsBulkRequest(Message):
    """Several artifacts: all are made or none."""

    artifacts: Sequence[CreateArtifactRequest] = ()


class CreateArtifactsBulkResponse(Message):
    """The artifacts in the order in which they were asked for."""

    artifacts: Sequence[Artifact] = ()


class CreateArtifactTaskRequest(Message):
    """A link between an artifact and a task."""

    artifact_task: ArtifactTask | None = None


class CreateArtifactTasksBulkRequest(Message):
    """Several links: all are made or none."""

    artifact_tasks: Sequence[ArtifactTask] = ()


class CreateArtifactTasksBulkResponse(Message):
    """The links in the order in which they were asked for."""

    artifact_tasks: Sequence[ArtifactTask] = ()


class LineageExecution(Message):
    """Something that reads and makes artifacts: a task."""

    id: str = ""
    context_id: str = ""
    kind: str = ""
    name: str = ""
    state: str = ""
    created_at: Timestamp = ""
    finished_at: Timestamp = ""


class LineageContext(Message):
    """What executions belong to together: a run."""

    id: str = ""
    kind: str = ""
    name: str = ""
    state: str = ""
    created_at: Timestamp = ""


class LineageGraph(Message):
    """What artifacts and executions came from, and what came of them."""

    artifacts: Sequence[Artifact] = ()
    executions: Sequence[LineageExecution] = ()
    contexts: Sequence[LineageContext] = ()
    events: Sequence[ArtifactTask] = ()
    truncated: bool = False
