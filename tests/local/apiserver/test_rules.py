"""Rules between fields of custom resources: when they are asked, what they say, and which definitions are refused."""

from typing import Any

import pytest

from ketch.kube.errors import Invalid
from ketch.kube.transport import APPLY_PATCH, MERGE_PATCH

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BOATS = "/apis/example.com/v1/namespaces/default/boats"


def a_definition(spec: dict[str, Any], rules: list[Any] | None = None, **version: Any) -> dict[str, Any]:
    """A definition of boats; ``spec`` is the schema of their spec, ``rules`` stand at the root."""
    schema: dict[str, Any] = {"type": "object", "properties": {"spec": {"type": "object", **spec}}}
    schema["properties"]["status"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    if rules:
        schema["x-kubernetes-validations"] = rules
    served = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **version}
    return {
        "metadata": {"name": "boats.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat"},
            "versions": [served],
        },
    }


def a_boat(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "b1"}, "spec": spec}


def rule(text: str, **more: Any) -> list[dict[str, Any]]:
    return [{"rule": text, **more}]


LENGTH = {"type": "integer"}


async def refused(ask: Any, method: str, path: str, body: Any, **query: Any) -> list[tuple[str, str, str]]:
    """Reason, field and message of each cause."""
    with pytest.raises(Invalid) as caught:
        await ask(method, path, body, **query)
    return [(cause.reason, cause.field, cause.message) for cause in caught.value.causes]


async def test_a_rule_holds_for_what_is_created_and_changed(ask: Any) -> None:
    spec = {
        "properties": {"length": LENGTH, "width": LENGTH},
        "x-kubernetes-validations": rule("self.width <= self.length", message="a boat is not wider than long"),
    }
    await ask("POST", DEFINITIONS, a_definition(spec))
    wrong = ("FieldValueInvalid", "spec", 'Invalid value: "object": a boat is not wider than long')
    assert await refused(ask, "POST", BOATS, a_boat(length=1, width=2)) == [wrong]
    await ask("POST", BOATS, a_boat(length=2, width=1))
    patch = {"spec": {"width": 3}}
    assert await refused(ask, "PATCH", f"{BOATS}/b1", patch, content_type=MERGE_PATCH) == [wrong]
    body = {"apiVersion": "example.com/v1", "kind": "Boat", **a_boat(width=3)}
    query = {"fieldManager": "me", "force": "true"}
    assert await refused(ask, "PATCH", f"{BOATS}/b1", body, content_type=APPLY_PATCH, query=query) == [wrong]


async def test_a_rule_that_has_no_value_says_why(ask: Any) -> None:
    spec = {
        "properties": {"length": LENGTH, "width": LENGTH},
        "x-kubernetes-validations": rule("self.width <= self.length"),
    }
    await ask("POST", DEFINITIONS, a_definition(spec))
    message = 'Invalid value: "object": no such key: width evaluating rule: self.width <= self.length'
    assert await refused(ask, "POST", BOATS, a_boat(length=1)) == [("FieldValueInvalid", "spec", message)]


async def test_words_of_a_rule(ask: Any) -> None:
    rules = [
        {"rule": "self.a > 0", "messageExpression": "'a is ' + string(self.a)", "fieldPath": ".a", "message": "m"},
        {"rule": "self.b > 0", "messageExpression": "self.b > -5 ? 'b' : string(1 / 0)", "message": "fallback"},
        {"rule": "self.c > 0", "reason": "FieldValueForbidden", "message": "no c"},
        {"rule": "self.d > 0", "reason": "FieldValueRequired", "message": "needs d", "fieldPath": ".d"},
        {"rule": "self.e\n> 0"},
    ]
    spec = {"properties": dict.fromkeys("abcde", LENGTH), "x-kubernetes-validations": rules}
    await ask("POST", DEFINITIONS, a_definition(spec))
    assert await refused(ask, "POST", BOATS, a_boat(a=-1, b=-9, c=0, d=0, e=0)) == [
        ("FieldValueInvalid", "spec.a", 'Invalid value: "object": a is -1'),
        ("FieldValueInvalid", "spec", 'Invalid value: "object": fallback'),
        ("FieldValueForbidden", "spec", "Forbidden: no c"),
        ("FieldValueRequired", "spec.d", "Required value: needs d"),
        ("FieldValueInvalid", "spec", 'Invalid value: "object": failed rule: self.e > 0'),
    ]


async def test_a_rule_about_a_change(ask: Any) -> None:
    spec = {
        "properties": {
            "port": {"type": "string", "x-kubernetes-validations": rule("self == oldSelf", message="is immutable")},
            "crew": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}, "age": LENGTH},
                    "x-kubernetes-validations": rule("self.age >= oldSelf.age", message="nobody gets younger"),
                },
            },
        }
    }
    await ask("POST", DEFINITIONS, a_definition(spec))
    await ask("POST", BOATS, a_boat(port="Kiel", crew=[{"name": "a", "age": 30}, {"name": "b", "age": 40}]))
    new = a_boat(port="Rostock", crew=[{"name": "c", "age": 1}, {"name": "b", "age": 39}])
    assert await refused(ask, "PUT", f"{BOATS}/b1", new) == [
        ("FieldValueInvalid", "spec.port", 'Invalid value: "string": is immutable'),
        ("FieldValueInvalid", "spec.crew[1]", 'Invalid value: "object": nobody gets younger'),
    ]
    await ask("PUT", f"{BOATS}/b1", a_boat(crew=[{"name": "b", "age": 40}]))
    await ask("PUT", f"{BOATS}/b1", a_boat(port="Rostock"))


async def test_a_rule_about_a_change_that_is_asked_of_new_objects_too(ask: Any) -> None:
    text = "oldSelf.hasValue() ? self >= oldSelf.value() : self == 1"
    ranked = {"type": "integer", "x-kubernetes-validations": rule(text, optionalOldSelf=True, message="begins at 1")}
    await ask("POST", DEFINITIONS, a_definition({"properties": {"rank": ranked}}))
    assert len(await refused(ask, "POST", BOATS, a_boat(rank=2))) == 1
    await ask("POST", BOATS, a_boat(rank=1))
    await ask("PUT", f"{BOATS}/b1", a_boat(rank=2))
    assert len(await refused(ask, "PUT", f"{BOATS}/b1", a_boat(rank=1))) == 1


async def test_a_rule_at_the_root_sees_the_name(ask: Any) -> None:
    text = "self.metadata.name.startsWith(self.kind.lowerAscii().substring(0, 1)) && has(self.spec)"
    await ask("POST", DEFINITIONS, a_definition({}, rule(text)))
    await ask("POST", BOATS, a_boat())
    assert len(await refused(ask, "POST", BOATS, {"metadata": {"name": "a1"}, "spec": {}})) == 1


async def test_values_are_what_the_schema_says(ask: Any) -> None:
    spec = {
        "properties": {
            "speed": {"type": "number"},
            "built": {"type": "string", "format": "date-time"},
            "since": {"type": "string", "format": "duration"},
            "key": {"type": "string", "format": "byte"},
            "port": {"x-kubernetes-int-or-string": True},
            "marks": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "ports": {"type": "object", "additionalProperties": {"type": "number"}},
            "a-b": {"type": "integer", "nullable": True},
        },
        "x-kubernetes-validations": [
            {"rule": "self.speed / 2.0 == 1.5 && type(self.speed) == double"},
            {"rule": "self.built.getFullYear() > 2000 && self.since > duration('1m')"},
            {"rule": "string(self.key) == 'abc'"},
            {"rule": "type(self.port) == int ? self.port < 1024 : self.port.endsWith('%')"},
            {"rule": "self.marks == ['b', 'a'] && (self.marks + ['a', 'c']).size() == 3"},
            {"rule": "self.ports.all(name, self.ports[name] > 0.5)"},
            {"rule": "self.a__dash__b == null"},
        ],
    }
    await ask("POST", DEFINITIONS, a_definition(spec))
    good = {"speed": 3, "built": "2026-01-01T00:00:00Z", "since": "1h", "key": "YWJj", "marks": ["a", "b"]}
    await ask("POST", BOATS, a_boat(**good, port=80, ports={"x": 1}, **{"a-b": None}))
    bad = await refused(ask, "PUT", f"{BOATS}/b1", a_boat(**good, port="8", ports={"x": 0}, **{"a-b": None}))
    assert [message.partition("failed rule: ")[2][:9] for _, _, message in bad] == ["type(self", "self.port"]


async def test_what_was_accepted_once_may_stay(ask: Any) -> None:
    definition = a_definition({"properties": {"length": LENGTH, "name": {"type": "string"}}})
    await ask("POST", DEFINITIONS, definition)
    await ask("POST", BOATS, a_boat(length=99, name="a"))
    strict = a_definition(
        {
            "properties": {
                "length": {"type": "integer", "maximum": 10, "x-kubernetes-validations": rule("self < 10")},
                "name": {"type": "string"},
            },
            "x-kubernetes-validations": rule("self.name != 'a'"),
        }
    )
    strict["metadata"] = (await ask("GET", f"{DEFINITIONS}/boats.example.com"))["metadata"]
    await ask("PUT", f"{DEFINITIONS}/boats.example.com", strict)
    patch = {"metadata": {"labels": {"x": "y"}}}
    await ask("PATCH", f"{BOATS}/b1", patch, content_type=MERGE_PATCH)
    await ask("PATCH", f"{BOATS}/b1", {"spec": {"name": "b"}}, content_type=MERGE_PATCH)
    found = await refused(ask, "PATCH", f"{BOATS}/b1", {"spec": {"length": 98}}, content_type=MERGE_PATCH)
    assert [field for _, field, _ in found] == ["spec.length"]
    assert len(await refused(ask, "PATCH", f"{BOATS}/b1", {"spec": {"name": "a"}}, content_type=MERGE_PATCH)) == 1


@pytest.mark.parametrize(
    ("spec", "field", "why"),
    [
        pytest.param(
            {"properties": {"a": LENGTH}, "x-kubernetes-validations": rule("self.b > 1")},
            ".x-kubernetes-validations[0].rule",
            "undefined field 'b'",
            id="a field that is not there",
        ),
        pytest.param(
            {"properties": {"a": LENGTH}, "x-kubernetes-validations": rule("self.a + 1")},
            ".x-kubernetes-validations[0].rule",
            "must evaluate to bool",
            id="no yes and no no",
        ),
        pytest.param(
            {"properties": {"a": LENGTH}, "x-kubernetes-validations": rule("self.a > 1", messageExpression="1")},
            ".x-kubernetes-validations[0].messageExpression",
            "must evaluate to string",
            id="a message that is no text",
        ),
        pytest.param(
            {"properties": {"a": LENGTH}, "x-kubernetes-validations": rule("self.a > 1", fieldPath=".c")},
            ".x-kubernetes-validations[0].fieldPath",
            "valid path",
            id="a place that is not there",
        ),
        pytest.param(
            {"x-kubernetes-validations": rule(" ")},
            ".x-kubernetes-validations[0].rule",
            "rule is not specified",
            id="nothing",
        ),
        pytest.param(
            {
                "properties": {
                    "l": {"type": "array", "items": {**LENGTH, "x-kubernetes-validations": rule("self == oldSelf")}}
                }
            },
            ".properties[l].items.x-kubernetes-validations[0].rule",
            "uncorrelatable",
            id="a change of what cannot be told apart",
        ),
        pytest.param(
            {"properties": {"a": {"type": "integer", "default": "x"}}},
            ".properties[a].default",
            "must be of type integer",
            id="a default that does not fit",
        ),
        pytest.param(
            {"properties": {"a": {"type": "string", "pattern": "(?<=a)b"}}},
            ".properties[a].pattern",
            "valid regular expression",
            id="a pattern that Go does not read",
        ),
        pytest.param(
            {
                "properties": {
                    "l": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["k"],
                        "items": {"type": "object", "properties": {"k": {"type": "string"}}},
                    }
                }
            },
            ".properties[l].items.properties[k].default",
            "must have a default or be required",
            id="a key that may be absent",
        ),
    ],
)
async def test_a_definition_is_refused_for(ask: Any, spec: dict[str, Any], field: str, why: str) -> None:
    ((_, where, message),) = await refused(ask, "POST", DEFINITIONS, a_definition(spec))
    assert where == f"spec.versions[0].schema.openAPIV3Schema.properties[spec]{field}"
    assert why in message
