"""Settings by upstream's names, read from the environment of the control plane."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from ketch.kube.times.durations import parse_duration
from ketch.pipelines.sources.rules import HTTPS_ONLY, Rules

TIME_ZONE: Final = "CRON_SCHEDULE_TIMEZONE"
RUNS_RETENTION: Final = "RUNS_RETENTION_TIME"
ARCHIVED_RETENTION: Final = "ARCHIVED_RUNS_RETENTION_TIME"
GC_INTERVAL: Final = "RUNS_GC_INTERVAL"
GC_BATCH: Final = "RUNS_GC_BATCH_SIZE"
MOST_AT_ONCE: Final = 10_000
"""Of runs in one transaction: a database's statements have so many parameters, and others wait."""


class SettingsError(Exception):
    """A setting that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long runs stay: ended ones until they are archived, archived ones until they are deleted; None is for ever.

    ``interval`` is how often to look, ``batch`` how many runs change in one transaction.
    """

    archive_after: timedelta | None = None
    delete_after: timedelta | None = None
    interval: timedelta = timedelta(hours=6)
    batch: int = 100


@dataclass(frozen=True, slots=True)
class Settings:
    """What an installation may choose. ``zone`` is where cron expressions' hours are told, ``packages`` what pipelines
    may be imported from, ``hosts`` what the API is called beside the machine's own names."""

    zone: tzinfo = UTC
    retention: Retention = Retention()
    packages: Rules = HTTPS_ONLY
    hosts: tuple[str, ...] = ()


DEFAULTS: Final = Settings()


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in ``environment``; what is unset or empty has its default. Raises SettingsError."""
    defaults = Retention()
    retention = Retention(
        archive_after=_duration(environment, RUNS_RETENTION),
        delete_after=_duration(environment, ARCHIVED_RETENTION),
        interval=_duration(environment, GC_INTERVAL) or defaults.interval,
        batch=_count(environment, GC_BATCH, defaults.batch),
    )
    return Settings(_zone(environment.get(TIME_ZONE, "")), retention, Rules.of_environment(environment))


def _zone(name: str) -> tzinfo:
    if name in ("", "UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; a path outside; a directory
        raise SettingsError(
            f"{TIME_ZONE}: there is no time zone {name!r}; expected one such as Europe/Berlin"
        ) from None


def _duration(environment: Mapping[str, str], name: str) -> timedelta | None:
    text = environment.get(name, "")
    if not text:
        return None
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None
    if duration <= timedelta():
        raise SettingsError(f"{name}: must be more than nothing, is {text}; leave it empty to turn it off")
    return duration


def _count(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:10]) <= MOST_AT_ONCE:
        raise SettingsError(f"{name}: expected a number from 1 to {MOST_AT_ONCE}, not {text!r}")
    return int(text)
