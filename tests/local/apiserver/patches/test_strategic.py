"""Strategic merge patch over real kinds' merge keys."""

from typing import Any

import pytest

from ketch.kube.errors import BadRequest
from ketch.local.apiserver.patches.strategic import strategic_merge_patch
from ketch.local.apiserver.schemas import schema_for

POD = schema_for("", "v1", "Pod").node
DEPLOYMENT = schema_for("apps", "v1", "Deployment").node


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **spec}}


@pytest.mark.parametrize(
    ("obj", "patch", "expected"),
    [
        pytest.param(
            pod({"name": "a", "image": "x"}, {"name": "b"}),
            pod({"name": "a", "image": "y"}),
            pod({"name": "a", "image": "y"}, {"name": "b"}),
            id="an element is found by its key",
        ),
        pytest.param(
            pod({"name": "a"}),
            pod({"name": "c", "image": "z"}),
            pod({"name": "a"}, {"name": "c", "image": "z"}),
            id="a new element is added",
        ),
        pytest.param(
            pod({"name": "a"}, {"name": "b"}),
            pod({"name": "a", "$patch": "delete"}),
            pod({"name": "b"}),
            id="an element is deleted",
        ),
        pytest.param(
            pod({"name": "a"}, {"name": "b"}),
            pod({"$patch": "replace"}, {"name": "c"}),
            pod({"name": "c"}),
            id="a list is replaced",
        ),
        pytest.param(
            {"metadata": {"labels": {"a": "1", "b": "2"}}},
            {"metadata": {"labels": {"a": None, "c": "3"}}},
            {"metadata": {"labels": {"b": "2", "c": "3"}}},
            id="null removes",
        ),
        pytest.param(
            {"metadata": {"labels": {"a": "1"}}},
            {"metadata": {"labels": {"$patch": "replace", "c": "3"}}},
            {"metadata": {"labels": {"c": "3"}}},
            id="an object is replaced",
        ),
        pytest.param(
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}},
            {"metadata": {"finalizers": ["b"]}},
            id="a value leaves a set",
        ),
        pytest.param(
            {"metadata": {"finalizers": ["a"]}},
            {"metadata": {"finalizers": ["b", "a"]}},
            {"metadata": {"finalizers": ["a", "b"]}},
            id="a set grows",
        ),
        pytest.param(
            pod({"name": "a", "args": ["1", "2"]}),
            pod({"name": "a", "args": ["3"]}),
            pod({"name": "a", "args": ["3"]}),
            id="a list without a key is replaced",
        ),
        pytest.param(
            pod({"name": "a"}, {"name": "b"}, {"name": "c"}),
            {"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "a"}]}},
            pod({"name": "c"}, {"name": "a"}, {"name": "b"}),
            id="an order is set",
        ),
    ],
)
def test_directives(obj: Any, patch: Any, expected: Any) -> None:
    assert strategic_merge_patch(obj, patch, POD) == expected


def test_retain_keys_drops_the_other_strategy() -> None:
    obj = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_merge_patch(obj, patch, DEPLOYMENT) == {"spec": {"strategy": {"type": "Recreate"}}}


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param([], id="no object"),
        pytest.param(pod({"image": "x"}), id="an element without its key"),
        pytest.param({"metadata": {"$patch": "frob"}}, id="an unknown directive"),
        pytest.param({"spec": {"containers": ["a"]}}, id="an element that is no object"),
    ],
)
def test_what_is_no_patch_is_a_bad_request(patch: Any) -> None:
    with pytest.raises(BadRequest):
        strategic_merge_patch(pod({"name": "a"}), patch, POD)
