"""In which order applied lists stand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.local.apiserver.patches.apply import merged
from ketch.local.apiserver.schemas.definitions import node_of

CONTAINERS = node_of("io.k8s.api.core.v1.PodSpec")


def order(live: list[str], applied: list[str]) -> list[str]:
    def spec(names: list[str]) -> dict[str, Any]:
        return {"containers": [{"name": name, "image": "x"} for name in names]}

    return [each["name"] for each in merged(CONTAINERS, spec(live), spec(applied))["containers"]]


@pytest.mark.parametrize(
    ("live", "applied", "result"),
    [
        ("ab", "ab", "ab"),
        ("ab", "ba", "ba"),
        ("ab", "c", "abc"),
        ("ab", "cb", "acb"),
        ("xab", "ba", "xba"),
        ("axb", "ba", "xba"),
        ("abx", "ba", "bxa"),
        ("axb", "acb", "axcb"),
        ("", "ab", "ab"),
        ("ab", "", "ab"),
    ],
)
def test_the_applier_says_in_which_order_its_own_stand(live: str, applied: str, result: str) -> None:
    assert order(list(live), list(applied)) == list(result)


NAMES = st.lists(st.sampled_from("abcdefg"), unique=True)


@given(NAMES, NAMES)
def test_nothing_is_lost_and_both_keep_their_order(live: list[str], applied: list[str]) -> None:
    found = order(live, applied)
    assert sorted(found) == sorted({*live, *applied})
    assert [name for name in found if name in applied] == applied
    others = [name for name in live if name not in applied]
    assert [name for name in found if name in others] == others
    assert order(found, applied) == found, "a second apply moves nothing"
