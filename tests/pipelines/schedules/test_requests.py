"""What is refused as a recurring run, and what its runs are called."""

from datetime import UTC, timedelta
from typing import Any

import pytest
from tests.pipelines.schedules.conftest import START, Stage

from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.schedules.requests import Timing, new_recurring_run, run_name

HOURLY = Timing(cron="@hourly")


@pytest.mark.parametrize(
    ("timing", "changes", "message"),
    [
        (HOURLY, {"display_name": ""}, "display_name: a recurring run needs a name"),
        (HOURLY, {"display_name": "n" * 240}, "display_name: a recurring run needs a name"),
        (HOURLY, {"max_concurrency": 0}, "at least 1 and at most 10. Received 0"),
        (HOURLY, {"max_concurrency": 11}, "Received 11"),
        (HOURLY, {"parameters": {"tex": "a"}}, "parameter"),
        (HOURLY, {"parameters": {"text": 1}}, "text"),
        (HOURLY, {"pipeline_root": "nowhere"}, "pipeline_root"),
        (Timing(cron="1 * * "), {}, "Schedule cron is not a supported format.*expected 5 to 6 fields, found 3"),
        (Timing(cron=""), {}, "Schedule cron is not a supported format.*empty"),
        (Timing(cron="0 0 0 31 2 *"), {}, "Schedule cron is not a supported format.*a time that never comes"),
        (Timing(interval_second=0), {}, "Found invalid period schedule interval 0. Set at interval to least 1 second"),
        (Timing(interval_second=-5), {}, "Found invalid period schedule interval -5"),
        (Timing(interval_second=2**62), {}, "within a hundred years"),
        (Timing(cron="@hourly", interval_second=5), {}, "exclude each other"),
        (Timing(interval_second=5, start=START, end=START - timedelta(1)), {}, "end_time is before start_time"),
    ],
)
async def test_what_is_refused(stage: Stage, timing: Timing, changes: dict[str, Any], message: str):
    request = await stage.request(timing, **changes)
    with pytest.raises(InvalidInput, match=message):
        new_recurring_run(request, START, UTC)


def test_runs_are_called_as_upstreams_controller_does():
    assert run_name("WORKFLOW_NAME", 51) == "WORKFLOW_NAME-51-2626342551"  # the vector of its own test
