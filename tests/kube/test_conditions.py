"""Conditions keep their time until their status changes."""

from datetime import UTC, datetime, timedelta

from ketch.kube.codec import encode
from ketch.kube.conditions import find, is_true, set_conditions
from ketch.kube.meta import Condition
from ketch.kube.types.apps import DeploymentCondition

NOW = datetime(2030, 1, 1, 12, 0, 0, 999, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def test_a_new_condition_begins_now_in_whole_seconds():
    (ready,) = set_conditions((), Condition(type="Ready", status="True"), generation=3, now=NOW)
    assert ready.last_transition_time == NOW.replace(microsecond=0)
    assert ready.observed_generation == 3


def test_an_unchanged_status_keeps_its_time_and_takes_the_new_reason():
    old = set_conditions((), Condition(type="Ready", status="False", reason="Starting"), generation=1, now=NOW)
    (ready,) = set_conditions(old, Condition(type="Ready", status="False", reason="Failing"), generation=2, now=LATER)
    assert (ready.reason, ready.observed_generation) == ("Failing", 2)
    assert ready.last_transition_time == old[0].last_transition_time


def test_a_flipped_status_takes_the_new_time():
    old = set_conditions((), Condition(type="Ready", status="False"), generation=1, now=NOW)
    (ready,) = set_conditions(old, Condition(type="Ready", status="True"), generation=1, now=LATER)
    assert ready.last_transition_time == LATER.replace(microsecond=0)


def test_setting_the_same_again_changes_nothing():
    wanted = (Condition(type="B", status="True"), Condition(type="A", status="False"))
    once = set_conditions((), *wanted, generation=1, now=NOW)
    assert set_conditions(once, *wanted, generation=1, now=LATER) == once
    assert [condition.type for condition in once] == ["B", "A"]


def test_others_stay_as_they_are():
    old = set_conditions((), Condition(type="Other", status="True"), generation=1, now=NOW)
    both = set_conditions(old, Condition(type="Ready", status="True"), generation=2, now=LATER)
    assert find(both, "Other") == old[0]


def test_kinds_without_observed_generation_are_not_sent_one():
    wanted = DeploymentCondition(type="Available", status="True", last_update_time=NOW)
    (available,) = set_conditions((), wanted, now=NOW)
    assert isinstance(available, DeploymentCondition)
    assert "observedGeneration" not in encode(available)


def test_asking():
    conditions = (Condition(type="Complete", status="False"), Condition(type="Failed", status="True"))
    assert is_true(conditions, "Complete", "Failed")
    assert not is_true(conditions, "Complete")
    assert not is_true((), "Complete")
    assert find(conditions, "Ready") is None
