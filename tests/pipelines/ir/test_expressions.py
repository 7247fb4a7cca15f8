"""Conditions and selectors as the compiler writes them, and what they do on values that do not fit."""

from typing import Any

import pytest

from ketch.pipelines.ir.expressions import ExpressionError, evaluate, parse_condition, select

P = "inputs.parameter_values"


@pytest.mark.parametrize(
    ("condition", "parameters", "holds"),
    [
        pytest.param(f"{P}['flip'] == 'heads'", {"flip": "heads"}, True, id="equal texts"),
        pytest.param(f"{P}['flip'] != 'heads'", {"flip": "tails"}, True, id="unequal texts"),
        pytest.param(f"int({P}['n']) >= 3", {"n": 3.0}, True, id="an integer in a double"),
        pytest.param(f"int({P}['n']) > int({P}['m'])", {"n": 2, "m": 3}, False, id="two parameters"),
        pytest.param(f"double({P}['n']) < 2.5", {"n": "2.4"}, True, id="a number in a text"),
        pytest.param(f"{P}['on'] == true", {"on": True}, True, id="a boolean"),
        pytest.param(f"{P}['on'] == false", {"on": 0}, False, id="zero is not false"),
        pytest.param(f"!({P}['a'] == 'x') && {P}['b'] == 'y'", {"a": "z", "b": "y"}, True, id="elif"),
        pytest.param(f"!({P}['a'] == 'x') && !({P}['b'] == 'y')", {"a": "z", "b": "y"}, False, id="else"),
        pytest.param(f"{P}['a'] == 'x' || {P}['b'] == 'y'", {"a": "x"}, True, id="or stops at what is true"),
        pytest.param(f"({P}['a'] == 'x') || ({P}['b'] == 'y')", {"a": "z", "b": "n"}, False, id="parentheses"),
        pytest.param(f"{P}['a'] == 'it's'", {"a": "it's"}, True, id="an unescaped quote"),
        pytest.param(f"{P}['a'] == 'C:\\new'", {"a": "C:\\new"}, True, id="an unescaped backslash"),
        pytest.param(f"{P}['a'] == ''", {"a": ""}, True, id="the empty text"),
        pytest.param(f"{P}['a'] == 'a && b'", {"a": "a && b"}, True, id="an operator in a text"),
        pytest.param(f'{P}[\'a\'] == "q\\""', {"a": 'q"'}, True, id="double quotes"),
        pytest.param(f"int({P}['n']) == -1", {"n": -1}, True, id="a negative number"),
        pytest.param(f"!({P}['a'] ==\n   'x')", {"a": "y"}, True, id="over two lines"),
    ],
)
def test_conditions(condition: str, parameters: dict[str, Any], holds: bool) -> None:
    assert evaluate(condition, parameters) is holds


@pytest.mark.parametrize(
    ("condition", "parameters", "complaint"),
    [
        pytest.param(f"{P}['n'] == 'x'", {}, "needs input parameter 'n'", id="absent"),
        pytest.param(f"{P}['n'] > 3", {"n": "x"}, "cannot be compared", id="text and number"),
        pytest.param(f"{P}['n'] > 3", {"n": True}, "cannot be compared", id="boolean and number"),
        pytest.param(f"int({P}['n']) > 3", {"n": "x"}, "has no value", id="no number"),
        pytest.param(f"{P}['n']", {"n": "x"}, "neither true nor false", id="no boolean"),
    ],
)
def test_conditions_without_an_answer(condition: str, parameters: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ExpressionError, match=complaint):
        evaluate(condition, parameters)


@pytest.mark.parametrize(
    "text", ["", "a ==", "f(1)", f"{P}['a'] = 1", "1 == 1 1", "(1 == 1", "[1, 2", "a.map(1)", "a ? b", "int(1, 2)"]
)
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(ExpressionError, match="cannot be read"):
        parse_condition(text)


def test_selectors_take_parts_of_values_and_of_json_texts() -> None:
    selector = 'parseJson(string_value)["a"]'
    assert select(selector, {"a": 1}) == 1
    assert select(selector, '{"a": [2]}') == [2]
    assert select('parseJson(string_value)["a"][0]["b"]', {"a": [{"b": None}]}) is None
    for value in ({"b": 1}, "no json", [1]):
        with pytest.raises(ExpressionError):
            select(selector, value)
    assert select("string_value", "text") == "text"
    assert select("list_value[1]", [1, 2]) == 2
    with pytest.raises(ExpressionError, match="not of the form"):
        select("parseJson(", {})


ARTIFACTS = {"m": {"artifacts": [{"uri": "s3://b/m", "metadata": {"accuracy": 0.9, "tags": ["a", "b"]}}]}}
FIRST = "inputs.artifacts['m'].artifacts[0]"


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param(f"{FIRST}.metadata['accuracy'] > 0.8", id="an artifact's metadata"),
        pytest.param(f"'b' in {FIRST}.metadata.tags && !('c' in {FIRST}.metadata.tags)", id="in"),
        pytest.param(f"{FIRST}.uri.startsWith('s3://') && {FIRST}.uri.endsWith(\"m\")", id="methods"),
        pytest.param(f"{P}.n in [1, 2, 3] ? {P}.n == 2 : false", id="a choice"),
        pytest.param(f"parseJson({P}['j'])['k'][1] == 'x'", id="JSON in a text"),
        pytest.param(f"{P}['n'] * 3 + 1 == 7 && {P}['n'] % 2 == 0 && -{P}['n'] < 0", id="arithmetic"),
        pytest.param(f"7 / {P}['n'] == 3 && 7.0 / {P}['n'] == 3.5", id="division"),
        pytest.param(f"has({P}.n) && !has({P}.nothing) && !has({FIRST}.metadata.other)", id="has"),
        pytest.param(f"size({P}['l']) == 2 && {P}['s'].size() == 3 && {P}['s'] + 'd' == 'abcd'", id="sizes"),
        pytest.param(f"{P}['s'].contains('b') && !{P}['s'].contains('d')", id="parts of texts"),
        pytest.param(r'''"it\'s\n" == "it\x27s\u000a" && r"\n" != "\n"''', id="escapes"),
    ],
)
def test_conditions_written_by_hand(condition: str) -> None:
    parameters = {"n": 2, "j": '{"k": [0, "x"]}', "l": [1, 2], "s": "abc"}
    assert evaluate(condition, parameters, ARTIFACTS)


@pytest.mark.parametrize(
    ("condition", "complaint"),
    [
        ("1 / 0 == 1", "has no value"),
        ("'a' - 'b' == 'c'", "has no value"),
        ("'a' in 'abc'", "neither a list nor an object"),
        ("[1][2] == 1", "there is no 2"),
        ("outputs.x == 1", "there is no 'outputs'"),
        ("inputs.artifacts['n'].artifacts[0].uri == ''", "needs input artifact 'n'"),
        ("size(1) == 1", "has no value"),
        ("!" * 5000 + "true", "nested too deeply"),
        ("(" * 5000, "nested too deeply"),
    ],
)
def test_conditions_by_hand_without_an_answer(condition: str, complaint: str) -> None:
    with pytest.raises(ExpressionError, match=complaint):
        evaluate(condition, {})
