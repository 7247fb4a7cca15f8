"""Which time of a CronJob is due, by table."""

from datetime import UTC, datetime

import pytest
from tests.playing import NAMESPACE

from ketch.kube.codec import decode
from ketch.kube.types.batch import CronJob
from ketch.local.workloads.cronjobs.timing import ScheduleError, job_for, job_name, ticks_of, turn


def at(text: str) -> datetime:
    """A time of the day."""
    return datetime.fromisoformat(f"2030-01-01T{text}").replace(tzinfo=UTC)


def a_cron_job(schedule: str = "*/10 * * * *", last: str = "", created: str = "08:00:30", **spec) -> CronJob:
    container = {"name": "main", "image": "python:3.11"}
    template = {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}}
    meta = {"name": "tick", "namespace": NAMESPACE, "creationTimestamp": f"2030-01-01T{created}Z"}
    status = {"lastScheduleTime": f"2030-01-01T{last}Z"} if last else {}
    spec = {"schedule": schedule, "jobTemplate": template} | spec
    return decode(CronJob, {"metadata": meta, "spec": spec, "status": status})


@pytest.mark.parametrize(
    ("cron_job", "now", "due", "following"),
    [
        pytest.param(a_cron_job(), "08:05:00", None, "08:10:00", id="not yet"),
        pytest.param(a_cron_job(), "08:10:00", "08:10:00", "08:20:00", id="now"),
        pytest.param(a_cron_job(last="08:10:00"), "08:12:00", None, "08:20:00", id="it has its job"),
        pytest.param(a_cron_job(last="08:10:00"), "09:05:00", "09:00:00", "09:10:00", id="of many, the latest"),
        pytest.param(a_cron_job("@every 1h"), "10:30:00", "10:00:30", None, id="at a distance from its beginning"),
        pytest.param(a_cron_job("0 10 * * *", timeZone="Europe/Berlin"), "09:00:00", "09:00:00", None, id="of a zone"),
        pytest.param(
            a_cron_job(startingDeadlineSeconds=200), "08:13:00", "08:10:00", "08:20:00", id="late, but in time"
        ),
    ],
)
def test_the_turn(cron_job, now, due, following):
    found = turn(cron_job, ticks_of(cron_job), at(now))
    assert found.due == (at(due) if due else None)
    assert found.missed is None
    if following:
        assert found.following == at(following)


def test_too_late_is_missed():
    cron_job = a_cron_job(startingDeadlineSeconds=60)
    found = turn(cron_job, ticks_of(cron_job), at("08:13:00"))
    assert (found.due, found.missed, found.following) == (None, at("08:10:00"), at("08:20:00"))


@pytest.mark.parametrize(
    ("spec", "reason"),
    [({"schedule": "no"}, "UnparseableSchedule"), ({"timeZone": "Mars/Olympus"}, "UnknownTimeZone")],
)
def test_what_cannot_be_read_says_what(spec, reason):
    with pytest.raises(ScheduleError) as caught:
        ticks_of(a_cron_job(**spec))
    assert caught.value.reason == reason


def test_the_job_tells_its_time_in_the_zone():
    cron_job = a_cron_job(timeZone="Asia/Tokyo")
    job = job_for(cron_job, at("08:10:00"))
    assert job.metadata.name == job_name(cron_job, at("08:10:00")) == f"tick-{int(at('08:10:00').timestamp()) // 60}"
    assert job.metadata.annotations == {"batch.kubernetes.io/cronjob-scheduled-timestamp": "2030-01-01T17:10:00+09:00"}
