"""Settings from the environment."""

from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import pytest

from ketch.pipelines.settings import Retention, Settings, SettingsError, read_settings


def test_nothing_is_set():
    assert read_settings({"RUNS_RETENTION_TIME": "", "CRON_SCHEDULE_TIMEZONE": ""}) == Settings(UTC, Retention())


def test_all_is_set():
    found = read_settings(
        {
            "CRON_SCHEDULE_TIMEZONE": "Europe/Berlin",
            "RUNS_RETENTION_TIME": "720h",
            "ARCHIVED_RUNS_RETENTION_TIME": "2160h",
            "RUNS_GC_INTERVAL": "30m",
            "RUNS_GC_BATCH_SIZE": "7",
        }
    )
    retention = Retention(timedelta(days=30), timedelta(days=90), timedelta(minutes=30), 7)
    assert found == Settings(ZoneInfo("Europe/Berlin"), retention)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CRON_SCHEDULE_TIMEZONE", "Mars/Olympus"),
        ("CRON_SCHEDULE_TIMEZONE", "../etc/passwd"),
        ("CRON_SCHEDULE_TIMEZONE", "Europe"),
        ("RUNS_RETENTION_TIME", "30 days"),
        ("RUNS_RETENTION_TIME", "-1h"),
        ("ARCHIVED_RUNS_RETENTION_TIME", "0"),
        ("RUNS_GC_INTERVAL", "often"),
        ("RUNS_GC_BATCH_SIZE", "0"),
        ("RUNS_GC_BATCH_SIZE", "many"),
        ("RUNS_GC_BATCH_SIZE", "10001"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: str):
    with pytest.raises(SettingsError, match=name):
        read_settings({name: value})
