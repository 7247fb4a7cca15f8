"""Messages of recurring runs."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from ketch.pipelines.api.messages import LongInteger, PipelineVersionReference, RuntimeConfig, Status, Timestamp
from ketch.pipelines.api.wire import Enum, Message

Mode = Annotated[str, Enum({0: "MODE_UNSPECIFIED", 1: "ENABLE", 2: "DISABLE"})]
RecurringRunStatus = Annotated[str, Enum({0: "STATUS_UNSPECIFIED", 1: "ENABLED", 3: "DISABLED"})]

PropagationPolicy = Annotated[
    str, Enum({0: "DELETE_PROPAGATION_POLICY_UNSPECIFIED", 1: "FOREGROUND", 2: "BACKGROUND", 3: "ORPHAN"})
]


class CronSchedule(Message):
    """Times by a cron expression of six fields, the first one being seconds."""

    start_time: Timestamp | None = None
    end_time: Timestamp | None = None
    cron: str = ""


class PeriodicSchedule(Message):
    """Times at equal distances."""

    start_time: Timestamp | None = None
    end_time: Timestamp | None = None
    interval_second: LongInteger = ""


class Trigger(Message):
    """What makes a schedule fire: one of both."""

    cron_schedule: CronSchedule | None = None
    periodic_schedule: PeriodicSchedule | None = None


class RecurringRun(Message):
    """A schedule and what it runs."""

    recurring_run_id: str = ""
    display_name: str = ""
    description: str = ""
    pipeline_version_id: str = ""
    pipeline_spec: Mapping[str, Any] | None = None
    pipeline_version_reference: PipelineVersionReference | None = None
    runtime_config: RuntimeConfig | None = None
    service_account: str = ""
    max_concurrency: LongInteger = ""
    trigger: Trigger | None = None
    mode: Mode = ""
    created_at: Timestamp = ""
    updated_at: Timestamp = ""
    status: RecurringRunStatus = ""
    error: Status | None = None
    no_catchup: bool = False
    namespace: str = ""
    experiment_id: str = ""
    plugins_input: Mapping[str, Any] | None = None


class ListRecurringRunsResponse(Message):
    """One page of recurring runs. The name of its list is the one in the API that is not snake_case."""

    recurring_runs: Sequence[RecurringRun] = msgspec.field(default=(), name="recurringRuns")
    total_size: int = 0
    next_page_token: str = ""
