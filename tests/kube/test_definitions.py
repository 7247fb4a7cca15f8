"""Definitions follow from typed kinds, and the API server serves what they say."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest

from ketch.kube.client import Client
from ketch.kube.codec import KubeStruct
from ketch.kube.definitions import ListMap, Scale, definition_of, schema_of
from ketch.kube.errors import Invalid
from ketch.kube.meta import Condition, KubeObject, ObjectMeta, Resource
from ketch.kube.types.pods import PodTemplateSpec


class Step(KubeStruct, frozen=True, kw_only=True):
    """One step."""

    name: str
    retries: Annotated[int, msgspec.Meta(ge=0, le=5, description="How often again.")] = 0


class PlanSpec(KubeStruct, frozen=True, kw_only=True):
    """What is planned."""

    steps: Annotated[tuple[Step, ...], ListMap("name"), msgspec.Meta(min_length=1)] = ()
    mode: Literal["Fast", "Careful"] = "Fast"
    port: int | str | None = None
    due: datetime | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    free: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    template: PodTemplateSpec = PodTemplateSpec()
    replicas: int | None = None


class PlanStatus(KubeStruct, frozen=True, kw_only=True):
    """What has come of it."""

    conditions: tuple[Condition, ...] = ()


class Plan(KubeObject, frozen=True, kw_only=True):
    """A plan for tests."""

    resource: ClassVar = Resource("test.ketch.dev", "v1", "Plan", "plans")

    spec: PlanSpec = PlanSpec()
    status: PlanStatus = PlanStatus()


class Odd(KubeObject, frozen=True, kw_only=True):
    """A kind with a field that no schema describes."""

    resource: ClassVar = Resource("test.ketch.dev", "v1", "Odd", "odds")

    spec: set[int] = msgspec.field(default_factory=set[int])


def test_each_type_has_its_schema():
    spec = schema_of(Plan)["properties"]["spec"]["properties"]
    assert spec["steps"] == {
        "type": "array",
        "minItems": 1,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "description": "One step.",
            "required": ["name"],
            "properties": {
                "name": {"type": "string"},
                "retries": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "maximum": 5,
                    "description": "How often again.",
                },
            },
        },
    }
    assert spec["mode"] == {"type": "string", "enum": ["Fast", "Careful"]}
    assert spec["port"] == {"x-kubernetes-int-or-string": True}
    assert spec["due"] == {"type": "string", "format": "date-time"}
    assert spec["labels"] == {"type": "object", "additionalProperties": {"type": "string"}}
    assert spec["free"] == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def test_what_no_schema_describes_is_refused():
    with pytest.raises(TypeError, match="set"):
        schema_of(Odd)


async def test_a_definition_is_accepted_served_and_enforced(client: Client):
    scale = Scale(".spec.replicas", ".status.replicas")
    await client.create(definition_of(Plan, short_names=["pl"], scale=scale))
    container = {"name": "c", "image": "python:3.11", "fieldOfTheFuture": 1}
    template = msgspec.structs.replace(PodTemplateSpec(), unknown_fields={"spec": {"containers": [container]}})
    made = await client.create(
        Plan(
            metadata=ObjectMeta(name="one", namespace="default"),
            spec=PlanSpec(steps=(Step(name="a"),), template=template),
        )
    )
    kept = made.to_json()["spec"]["template"]["spec"]["containers"][0]
    assert kept == container
    with pytest.raises(Invalid) as caught:
        await client.create(
            Plan(
                metadata=ObjectMeta(name="two", namespace="default"), spec=PlanSpec(steps=(Step(name="a", retries=6),))
            )
        )
    assert "spec.steps[0].retries" in str(caught.value)
