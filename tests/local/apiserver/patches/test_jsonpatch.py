"""JSON patch (RFC 6902) and merge patch (RFC 7386): the RFCs' own cases, and laws."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.kube.errors import BadRequest, Invalid
from ketch.local.apiserver.patches.jsonpatch import json_patch
from ketch.local.apiserver.patches.merge import merge_patch

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab/~", max_size=3),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), children, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text("ab/~", min_size=1, max_size=2), JSON, max_size=4)


@pytest.mark.parametrize(
    ("obj", "patch", "expected"),
    [
        pytest.param({"foo": 1}, [{"op": "add", "path": "/baz", "value": 2}], {"foo": 1, "baz": 2}, id="add a member"),
        pytest.param({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}, id="insert"),
        pytest.param({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}, id="append"),
        pytest.param({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}, id="remove a member"),
        pytest.param({"a": [1, 2, 3]}, [{"op": "remove", "path": "/a/1"}], {"a": [1, 3]}, id="remove an element"),
        pytest.param({"a": 1}, [{"op": "replace", "path": "/a", "value": {}}], {"a": {}}, id="replace"),
        pytest.param({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}, id="move"),
        pytest.param({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}, id="copy"),
        pytest.param({"a": 1}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1}, id="test holds"),
        pytest.param({"a/b": 1, "m~n": 2}, [{"op": "remove", "path": "/a~1b"}], {"m~n": 2}, id="escaped slash"),
        pytest.param({"m~n": 2}, [{"op": "remove", "path": "/m~0n"}], {}, id="escaped tilde"),
        pytest.param({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}, id="the whole object"),
        pytest.param({"": 1}, [{"op": "remove", "path": "/"}], {}, id="the empty name"),
    ],
)
def test_operations(obj: Any, patch: Any, expected: Any) -> None:
    assert json_patch(obj, patch) == expected


@pytest.mark.parametrize(
    ("patch", "error"),
    [
        pytest.param({"op": "add"}, BadRequest, id="no list"),
        pytest.param([1], BadRequest, id="no operation"),
        pytest.param([{"op": "frob", "path": "/a"}], BadRequest, id="unknown operation"),
        pytest.param([{"op": "add", "value": 1}], BadRequest, id="no path"),
        pytest.param([{"op": "add", "path": "a", "value": 1}], BadRequest, id="no pointer"),
        pytest.param([{"op": "add", "path": "/a"}], BadRequest, id="no value"),
        pytest.param([{"op": "remove", "path": "/missing"}], Invalid, id="no such path"),
        pytest.param([{"op": "replace", "path": "/missing", "value": 1}], Invalid, id="nothing to replace"),
        pytest.param([{"op": "add", "path": "/x/y", "value": 1}], Invalid, id="no parent"),
        pytest.param([{"op": "add", "path": "/l/9", "value": 1}], Invalid, id="index out of range"),
        pytest.param([{"op": "add", "path": "/l/01", "value": 1}], Invalid, id="index with a leading zero"),
        pytest.param([{"op": "test", "path": "/a", "value": 2}], Invalid, id="test fails"),
        pytest.param([{"op": "remove", "path": ""}], Invalid, id="nothing left"),
        pytest.param([{"op": "move", "from": "/l", "path": "/l/0"}], Invalid, id="into itself"),
        pytest.param([{"op": "replace", "path": "", "value": []}], Invalid, id="no object any more"),
    ],
)
def test_what_is_no_patch_is_an_error_and_changes_nothing(patch: Any, error: type[Exception]) -> None:
    obj = {"a": 1, "l": [1]}
    with pytest.raises(error):
        json_patch(obj, patch)
    assert obj == {"a": 1, "l": [1]}


def test_a_failing_operation_undoes_those_before() -> None:
    obj = {"a": 1}
    with pytest.raises(Invalid):
        json_patch(obj, [{"op": "add", "path": "/b", "value": 1}, {"op": "test", "path": "/a", "value": 9}])
    assert obj == {"a": 1}


@given(OBJECTS, st.text("ab/~", min_size=1, max_size=2), JSON)
def test_add_then_remove_is_nothing(obj: dict[str, Any], name: str, value: Any) -> None:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    before = copy.deepcopy(obj)
    obj.pop(name, None)
    rest = copy.deepcopy(obj)
    added = json_patch(obj, [{"op": "add", "path": pointer, "value": value}])
    assert added[name] == value
    assert json_patch(added, [{"op": "remove", "path": pointer}]) == rest == obj
    assert set(before) - {name} == set(rest)


@pytest.mark.parametrize(
    ("obj", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_merge_patch_cases_of_the_rfc(obj: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(obj, patch) == expected


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_is_idempotent_and_leaves_its_arguments_alone(obj: Any, patch: Any) -> None:
    before, told = copy.deepcopy(obj), copy.deepcopy(patch)
    once = merge_patch(obj, patch)
    assert merge_patch(once, patch) == once
    assert (obj, patch) == (before, told)


def test_a_merge_patch_is_an_object() -> None:
    with pytest.raises(BadRequest):
        merge_patch({}, [])
