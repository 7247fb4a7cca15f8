"""Field sets are sets."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ketch.local.apiserver.patches.fields import changed, difference, field_set, intersection, paths, union
from ketch.local.apiserver.patches.merge import merge_patch
from ketch.local.apiserver.schemas import schema_for
from ketch.local.apiserver.schemas.nodes import ANYTHING

VALUES = st.recursive(
    st.integers(0, 3), lambda children: st.dictionaries(st.text("abc", min_size=1, max_size=1), children), max_leaves=6
)
OBJECTS = st.dictionaries(st.text("abc", min_size=1, max_size=1), VALUES)


def leaves(obj: Any) -> set[str]:
    return set(paths(field_set(ANYTHING, obj)))


SCALARS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3))
SHAPED = st.fixed_dictionaries({}, optional={"x": SCALARS, "y": SCALARS, "z": st.integers(0, 3)})
"""Objects whose fields are of one shape in all of them, as those of one kind are; an empty map is a field."""


@given(SHAPED, SHAPED)
def test_union_difference_and_intersection_are_those_of_sets_of_paths(one: Any, other: Any) -> None:
    left, right = field_set(ANYTHING, one), field_set(ANYTHING, other)
    assert difference(left, left) == {}
    assert intersection(left, left) == left
    assert difference(left, union(left, right)) == {}
    assert set(paths(union(left, right))) == leaves(one) | leaves(other)
    assert set(paths(intersection(left, right))) == leaves(one) & leaves(other)
    assert set(paths(difference(left, right))) == leaves(one) - leaves(other)


@given(OBJECTS, OBJECTS)
def test_what_changed_explains_the_whole_difference(old: Any, new: Any) -> None:
    modified, removed = changed(ANYTHING, old, new)
    assert (modified == {} and removed == {}) == (old == new)


@given(OBJECTS)
def test_an_object_merged_with_itself_changes_nothing(obj: Any) -> None:
    assert changed(ANYTHING, obj, merge_patch(obj, obj)) == ({}, {})


def test_elements_of_keyed_lists_are_fields() -> None:
    node = schema_for("", "v1", "Service").node
    obj = {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}
    assert list(paths(field_set(node, obj))) == [
        '.spec.ports[port=80,protocol="TCP"]',
        '.spec.ports[port=80,protocol="TCP"].port',
        '.spec.ports[port=80,protocol="TCP"].targetPort',
    ]
