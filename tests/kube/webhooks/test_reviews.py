"""AdmissionReviews answered: patches that make what was completed, verdicts with their causes."""

import base64
from collections.abc import Iterable
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.kube.admission import Admission, View
from ketch.kube.causes import invalid
from ketch.kube.client import Client
from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.errors import BadRequest, Cause
from ketch.kube.meta import ObjectMeta
from ketch.kube.types.core import ConfigMap, Secret
from ketch.kube.webhooks.registrations import Place, registrations
from ketch.kube.webhooks.reviews import MUTATE, VALIDATE, Reviewer, difference
from ketch.local.apiserver.patches import json_patch

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~0", max_size=3), inner, max_size=3),
    max_leaves=12,
)


class ConfigMapAdmission(Admission[ConfigMap]):
    """Fills in a colour; the Secret of the same name must be there, and the one that it names."""

    kind = ConfigMap

    def complete(self, obj: ConfigMap, old: ConfigMap | None, view: View) -> ConfigMap:
        return msgspec.structs.replace(obj, data={"colour": "blue", **obj.data})

    def check(self, obj: ConfigMap, old: ConfigMap | None, view: View) -> Iterable[Cause]:
        first = view.get(Secret, obj.metadata.namespace, obj.metadata.name)
        if first is None:
            yield invalid("data", obj.metadata.name, "there is no such Secret")
        elif view.get(Secret, obj.metadata.namespace, first.metadata.labels["next"]) is None:
            yield invalid("data", first.metadata.labels["next"], "there is no such Secret")

    def warn(self, obj: ConfigMap, old: ConfigMap | None, view: View) -> Iterable[str]:
        if obj.data["colour"] == "red":
            yield "red is loud"


def a_review(obj: dict[str, Any] | None, old: dict[str, Any] | None = None, kind: str = "ConfigMap") -> dict[str, Any]:
    request = {"uid": "u", "kind": {"group": "", "version": "v1", "kind": kind}, "object": obj, "oldObject": old}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def a_map(**data: str) -> dict[str, Any]:
    metadata = {"name": "it", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


@pytest.fixture
def reviewer(client: Client) -> Reviewer:
    return Reviewer((ConfigMapAdmission(),), client, SYSTEM_CLOCK)


@given(JSON, JSON)
def test_a_difference_is_a_patch(before: Any, after: Any) -> None:
    document = {"it": before}
    assert json_patch(document, list(difference(document, {"it": after}))) == {"it": after}


async def test_what_was_completed_comes_as_a_patch(reviewer: Reviewer) -> None:
    answer = await reviewer.answer(MUTATE, a_review(a_map(size="1")))
    assert {key: answer[key] for key in ("apiVersion", "kind")} == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
    }
    response = answer["response"]
    assert (response["uid"], response["allowed"], response["patchType"]) == ("u", True, "JSONPatch")
    patch = orjson.loads(base64.b64decode(response["patch"]))
    assert patch == [{"op": "add", "path": "/data/colour", "value": "blue"}]
    whole = await reviewer.answer(MUTATE, a_review(a_map(colour="red")))
    assert whole["response"] == {"uid": "u", "allowed": True}


async def test_a_verdict_has_its_causes_and_sees_other_objects(reviewer: Reviewer, client: Client) -> None:
    async def asked() -> Any:
        return (await reviewer.answer(VALIDATE, a_review(a_map(colour="red"))))["response"]

    refused = await asked()
    assert (refused["allowed"], refused["status"]["code"], refused["status"]["reason"]) == (False, 422, "Invalid")
    assert refused["status"]["message"] == 'data: Invalid value: "it": there is no such Secret'
    assert refused["status"]["details"]["causes"][0]["field"] == "data"
    await client.create(Secret(metadata=ObjectMeta(name="it", namespace="default", labels={"next": "other"})))
    assert '"other"' in (await asked())["status"]["message"]
    await client.create(Secret(metadata=ObjectMeta(name="other", namespace="default")))
    assert await asked() == {"uid": "u", "allowed": True, "warnings": ["red is loud"]}


async def test_a_deletion_and_a_status_are_nobodys_business(reviewer: Reviewer) -> None:
    for obj, old in ((None, a_map()), (a_map(), a_map())):
        answer = await reviewer.answer(VALIDATE, a_review(obj, old))
        assert answer["response"] == {"uid": "u", "allowed": True}


@pytest.mark.parametrize("review", [{}, {"kind": "AdmissionReview"}, a_review(a_map(), kind="Secret")])
async def test_what_is_no_review_of_a_known_kind_is_refused(reviewer: Reviewer, review: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="ConfigMap"):
        await reviewer.answer(VALIDATE, review)


def test_registrations_name_every_kind_once() -> None:
    mutating, validating = registrations("it", (ConfigMapAdmission(),), Place(b"pem", url="https://host:1"))
    for found, path in ((mutating, MUTATE), (validating, VALIDATE)):
        (hook,) = found.webhooks
        assert hook["clientConfig"] == {"caBundle": "cGVt", "url": f"https://host:1{path}"}
        assert hook["rules"][0]["resources"] == ["configmaps"]
    behind = Place(b"pem", namespace="n", service="s").client_config(MUTATE)["service"]
    assert behind == {"namespace": "n", "name": "s", "path": MUTATE, "port": 443}
