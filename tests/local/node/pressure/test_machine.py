"""When there is too little of something, and when there is enough again."""

from pathlib import Path

import pytest

from ketch.local.node.pressure.machine import DISK, MEMORY, PROCESSES, Machine, Supply, observe


def supply(left: int, condition: str = DISK) -> Supply:
    return Supply(condition, "ephemeral-storage", left, least=100)


@pytest.mark.parametrize(
    ("left", "before", "short"),
    [(100, False, False), (99, False, True), (0, False, True), (109, True, True), (110, True, False), (99, True, True)],
)
def test_pressure_ends_a_little_above_where_it_begins(left: int, before: bool, short: bool):
    assert supply(left).short(before=before) is short


def test_each_condition_remembers_only_itself():
    machine = Machine((supply(105), supply(105, MEMORY)))
    assert machine.short() == ()
    assert machine.short(frozenset({MEMORY})) == (supply(105, MEMORY),)


@pytest.mark.parametrize(("left", "near"), [(299, True), (300, False)])
def test_looks_are_closer_before_anything_runs_short(left: int, near: bool):
    assert Machine((supply(left),)).near is near


def test_this_machine_is_seen(tmp_path: Path):
    seen = observe(tmp_path).supplies
    assert {each.condition for each in seen} == {DISK, MEMORY, PROCESSES}
    assert all(each.left > 0 and each.least > 0 for each in seen)
