"""v1beta1's messages, under the names that its own OpenAPI gives them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from ketch.pipelines.api.messages import LongInteger, Timestamp, Url
from ketch.pipelines.api.recurring_messages import Trigger
from ketch.pipelines.api.wire import Enum, Message

ResourceType = Annotated[
    str,
    Enum(
        {
            0: "UNKNOWN_RESOURCE_TYPE",
            1: "EXPERIMENT",
            2: "JOB",
            3: "PIPELINE",
            4: "PIPELINE_VERSION",
            5: "NAMESPACE",
        }
    ),
]
Relationship = Annotated[str, Enum({0: "UNKNOWN_RELATIONSHIP", 1: "OWNER", 2: "CREATOR"})]
StorageState = Annotated[
    str, Enum({0: "STORAGESTATE_UNSPECIFIED", 1: "STORAGESTATE_AVAILABLE", 2: "STORAGESTATE_ARCHIVED"})
]
JobMode = Annotated[str, Enum({0: "UNKNOWN_MODE", 1: "ENABLED", 2: "DISABLED"})]


class ApiResourceKey(Message):
    """Which thing is meant."""

    type: ResourceType = ""
    id: str = ""


class ApiResourceReference(Message):
    """What a thing belongs to or was made by."""

    key: ApiResourceKey | None = None
    name: str = ""
    relationship: Relationship = ""


class ApiExperiment(Message):
    """A named group of runs."""

    id: str = ""
    name: str = ""
    description: str = ""
    created_at: Timestamp = ""
    resource_references: Sequence[ApiResourceReference] = ()
    storage_state: StorageState = ""


class ApiListExperimentsResponse(Message):
    """One page of experiments."""

    experiments: Sequence[ApiExperiment] = ()
    total_size: int = 0
    next_page_token: str = ""


class ApiParameter(Message):
    """A value of a pipeline of KFP 1; those of KFP 2 are in ``runtime_config``."""

    name: str = ""
    value: str = ""


class ApiPipelineVersion(Message):
    """One specification of a pipeline."""

    id: str = ""
    name: str = ""
    created_at: Timestamp = ""
    parameters: Sequence[ApiParameter] = ()
    code_source_url: str = ""
    package_url: Url | None = None
    resource_references: Sequence[ApiResourceReference] = ()
    description: str = ""


class ApiPipeline(Message):
    """A named pipeline."""

    id: str = ""
    created_at: Timestamp = ""
    name: str = ""
    description: str = ""
    parameters: Sequence[ApiParameter] = ()
    url: Url | None = None
    error: str = ""
    default_version: ApiPipelineVersion | None = None
    resource_references: Sequence[ApiResourceReference] = ()


class ApiListPipelinesResponse(Message):
    """One page of pipelines."""

    pipelines: Sequence[ApiPipeline] = ()
    total_size: int = 0
    next_page_token: str = ""


class ApiListPipelineVersionsResponse(Message):
    """One page of a pipeline's versions."""

    versions: Sequence[ApiPipelineVersion] = ()
    next_page_token: str = ""
    total_size: int = 0


class ApiGetTemplateResponse(Message):
    """A specification as text."""

    template: str = ""


class ApiRuntimeConfig(Message):
    """The values of one run."""

    parameters: Mapping[str, Any] | None = None
    pipeline_root: str = ""


class ApiPipelineSpec(Message):
    """What is run, with which values."""

    pipeline_id: str = ""
    pipeline_name: str = ""
    workflow_manifest: str = ""
    pipeline_manifest: str = ""
    parameters: Sequence[ApiParameter] = ()
    runtime_config: ApiRuntimeConfig | None = None


class ApiRun(Message):
    """One execution of a specification."""

    id: str = ""
    name: str = ""
    storage_state: StorageState = ""
    description: str = ""
    pipeline_spec: ApiPipelineSpec | None = None
    resource_references: Sequence[ApiResourceReference] = ()
    service_account: str = ""
    created_at: Timestamp = ""
    scheduled_at: Timestamp = ""
    finished_at: Timestamp = ""
    status: str = ""
    error: str = ""


class ApiListRunsResponse(Message):
    """One page of runs."""

    runs: Sequence[ApiRun] = ()
    total_size: int = 0
    next_page_token: str = ""


class ApiPipelineRuntime(Message):
    """What the run was made of."""

    pipeline_manifest: str = ""
    workflow_manifest: str = ""


class ApiRunDetail(Message):
    """A run and what it was made of."""

    run: ApiRun | None = None
    pipeline_runtime: ApiPipelineRuntime | None = None


class ApiJob(Message):
    """A recurring run."""

    id: str = ""
    name: str = ""
    description: str = ""
    pipeline_spec: ApiPipelineSpec | None = None
    resource_references: Sequence[ApiResourceReference] = ()
    service_account: str = ""
    max_concurrency: LongInteger = ""
    trigger: Trigger | None = None
    mode: JobMode = ""
    created_at: Timestamp = ""
    updated_at: Timestamp = ""
    status: str = ""
    error: str = ""
    enabled: bool = False
    no_catchup: bool = False


class ApiListJobsResponse(Message):
    """One page of recurring runs."""

    jobs: Sequence[ApiJob] = ()
    total_size: int = 0
    next_page_token: str = ""
