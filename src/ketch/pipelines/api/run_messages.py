"""Messages of runs, which hold those of their tasks."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from ketch.pipelines.api.lineage_messages import PipelineTask
from ketch.pipelines.api.messages import (
    PipelineVersionReference,
    RunDetails,
    RuntimeConfig,
    RuntimeState,
    RuntimeStatus,
    Status,
    StorageState,
    Timestamp,
)
from ketch.pipelines.api.wire import Enum, Message

PluginState = Annotated[
    str, Enum({0: "PLUGIN_STATE_UNSPECIFIED", 1: "PLUGIN_RUNNING", 2: "PLUGIN_SUCCEEDED", 3: "PLUGIN_FAILED"})
]
View = Annotated[str, Enum({0: "DEFAULT", 1: "FULL"})]
"""How much of a run is answered: FULL has its tasks too."""


class PluginValue(Message):
    """One thing that a plugin says of a run."""

    value: Any = None
    render_type: Annotated[str, Enum({0: "UNSPECIFIED", 1: "URL"})] = ""


class PluginOutput(Message):
    """What a plugin says of a run."""

    entries: Mapping[str, PluginValue] | None = None
    state: PluginState = ""
    state_message: str = ""


class Run(Message):
    """One execution of a specification."""

    experiment_id: str = ""
    run_id: str = ""
    display_name: str = ""
    storage_state: StorageState = ""
    description: str = ""
    pipeline_version_id: str = ""
    pipeline_spec: Mapping[str, Any] | None = None
    pipeline_version_reference: PipelineVersionReference | None = None
    runtime_config: RuntimeConfig | None = None
    service_account: str = ""
    created_at: Timestamp = ""
    scheduled_at: Timestamp = ""
    finished_at: Timestamp = ""
    state: RuntimeState = ""
    error: Status | None = None
    run_details: RunDetails | None = None
    recurring_run_id: str = ""
    state_history: Sequence[RuntimeStatus] = ()
    plugins_input: Mapping[str, Any] | None = None
    plugins_output: Mapping[str, PluginOutput] | None = None
    pipeline_reference: PipelineVersionReference | None = None
    task_count: int = 0
    tasks: Sequence[PipelineTask] = ()


class ListRunsResponse(Message):
    """One page of runs."""

    runs: Sequence[Run] = ()
    total_size: int = 0
    next_page_token: str = ""


class ReadArtifactResponse(Message):
    """An artifact's content."""

    data: str = ""
