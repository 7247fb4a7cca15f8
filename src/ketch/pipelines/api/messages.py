"""KFP's v2beta1 messages, declared once: requests are decoded into them, answers encoded from them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from ketch.pipelines.api.wire import Enum, Int64, Message, Time

Timestamp = Annotated[str, Time]
LongInteger = Annotated[str, Int64]

RuntimeState = Annotated[
    str,
    Enum(
        {
            0: "RUNTIME_STATE_UNSPECIFIED",
            1: "PENDING",
            2: "RUNNING",
            3: "SUCCEEDED",
            4: "SKIPPED",
            5: "FAILED",
            6: "CANCELING",
            7: "CANCELED",
            8: "PAUSED",
        }
    ),
]
StorageState = Annotated[str, Enum({0: "STORAGE_STATE_UNSPECIFIED", 1: "AVAILABLE", 2: "ARCHIVED"})]


class Status(Message):
    """google.rpc.Status."""

    code: int = 0
    message: str = ""
    details: Sequence[Mapping[str, Any]] = ()


class Empty(Message):
    """google.protobuf.Empty."""


class Experiment(Message):
    """A named group of runs."""

    experiment_id: str = ""
    display_name: str = ""
    description: str = ""
    created_at: Timestamp = ""
    namespace: str = ""
    storage_state: StorageState = ""
    last_run_created_at: Timestamp = ""


class ListExperimentsResponse(Message):
    """One page of experiments."""

    experiments: Sequence[Experiment] = ()
    total_size: int = 0
    next_page_token: str = ""


class Url(Message):
    """Where a package is."""

    pipeline_url: str = ""


class Pipeline(Message):
    """A named pipeline."""

    pipeline_id: str = ""
    display_name: str = ""
    name: str = ""
    description: str = ""
    created_at: Timestamp = ""
    namespace: str = ""
    error: Status | None = None
    tags: Mapping[str, str] | None = None


class PipelineVersion(Message):
    """One specification of a pipeline."""

    pipeline_id: str = ""
    pipeline_version_id: str = ""
    display_name: str = ""
    name: str = ""
    description: str = ""
    created_at: Timestamp = ""
    package_url: Url | None = None
    code_source_url: str = ""
    pipeline_spec: Mapping[str, Any] | None = None
    error: Status | None = None
    tags: Mapping[str, str] | None = None


class CreatePipelineAndVersionRequest(Message):
    """A pipeline with its first version."""

    pipeline: Pipeline | None = None
    pipeline_version: PipelineVersion | None = None


class ListPipelinesResponse(Message):
    """One page of pipelines."""

    pipelines: Sequence[Pipeline] = ()
    total_size: int = 0
    next_page_token: str = ""


class ListPipelineVersionsResponse(Message):
    """One page of a pipeline's versions."""

    pipeline_versions: Sequence[PipelineVersion] = ()
    total_size: int = 0
    next_page_token: str = ""


class PipelineVersionReference(Message):
    """Which version of which pipeline; no version means the newest."""

    pipeline_id: str = ""
    pipeline_version_id: str = ""


class RuntimeConfig(Message):
    """The values of one run."""

    parameters: Mapping[str, Any] | None = None
    pipeline_root: str = ""


class RuntimeStatus(Message):
    """One state that a run or task was in."""

    update_time: Timestamp = ""
    state: RuntimeState = ""
    error: Status | None = None


class ArtifactList(Message):
    """Artifacts by id."""

    artifact_ids: Sequence[str] = ()


class ChildTask(Message):
    """A task below another."""

    task_id: str = ""
    pod_name: str = ""


class ExecutorDetail(Message):
    """The pods of a task: the newest attempt's and the failed ones'."""

    main_job: str = ""
    pre_caching_check_job: str = ""
    failed_main_jobs: Sequence[str] = ()
    failed_pre_caching_check_jobs: Sequence[str] = ()


class PipelineTaskDetail(Message):
    """One task of a run."""

    run_id: str = ""
    task_id: str = ""
    display_name: str = ""
    create_time: Timestamp = ""
    start_time: Timestamp = ""
    end_time: Timestamp = ""
    executor_detail: ExecutorDetail | None = None
    state: RuntimeState = ""
    execution_id: LongInteger = ""
    error: Status | None = None
    inputs: Mapping[str, ArtifactList] | None = None
    outputs: Mapping[str, ArtifactList] | None = None
    parent_task_id: str = ""
    state_history: Sequence[RuntimeStatus] = ()
    pod_name: str = ""
    child_tasks: Sequence[ChildTask] = ()


class RunDetails(Message):
    """What a run consists of."""

    pipeline_context_id: LongInteger = ""
    pipeline_run_context_id: LongInteger = ""
    task_details: Sequence[PipelineTaskDetail] = ()


class GetHealthzResponse(Message):
    """That the server is there, and what it is."""

    commit_sha: str = ""
    tag_name: str = ""
    multi_user: bool = False
    pipeline_store: str = ""
