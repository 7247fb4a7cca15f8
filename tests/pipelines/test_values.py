"""Parameter values: conversion of inputs, reading of outputs, texts."""

from typing import Any

import pytest

from ketch.pipelines.ir.spec import ParameterType
from ketch.pipelines.values import ValueProblem, check_output, convert, parse_output, plain, to_json, to_text

DOUBLE, INTEGER, STRING = ParameterType.NUMBER_DOUBLE, ParameterType.NUMBER_INTEGER, ParameterType.STRING
BOOLEAN, LIST, STRUCT = ParameterType.BOOLEAN, ParameterType.LIST, ParameterType.STRUCT


def test_integral_doubles_become_integers_at_every_depth() -> None:
    assert to_json(plain({"a": [1.0, 2.5, {"b": -3.0}], "c": True})) == '{"a":[1,2.5,{"b":-3}],"c":true}'
    assert plain(1e300) == 1e300
    assert isinstance(plain(1e300), float)


@pytest.mark.parametrize(
    ("value", "text"),
    [('ä"b', 'ä"b'), (3.0, "3"), (0.1, "0.1"), (True, "true"), ([1.0, "x"], '[1,"x"]'), ({}, "{}"), (None, "")],
)
def test_texts_in_command_lines(value: Any, text: str) -> None:
    assert to_text(value) == text


@pytest.mark.parametrize(
    ("value", "kind", "result"),
    [
        (3.0, INTEGER, 3),
        (2.5, INTEGER, 2.5),
        (3, DOUBLE, 3),
        (True, BOOLEAN, True),
        (["a"], LIST, ["a"]),
        ({"a": 1.0}, STRUCT, {"a": 1}),
        (3.0, STRING, "3"),
        (False, STRING, "false"),
        ([1.0], STRING, "[1]"),
    ],
)
def test_inputs_are_converted(value: Any, kind: ParameterType, result: Any) -> None:
    assert convert(value, kind, "x") == result


@pytest.mark.parametrize(
    ("value", "kind"),
    [("3", INTEGER), (True, DOUBLE), (1, BOOLEAN), ("[]", LIST), ([], STRUCT), ({}, LIST), (None, STRUCT)],
)
def test_inputs_that_do_not_fit(value: Any, kind: ParameterType) -> None:
    with pytest.raises(ValueProblem, match=f'input parameter "x" type mismatch: expect {kind.value}, got '):
        convert(value, kind, "x")


@pytest.mark.parametrize(
    ("text", "kind", "result"),
    [
        (" raw \n", STRING, " raw \n"),
        (" 12\n", INTEGER, 12),
        ("1e3", DOUBLE, 1000),
        ("T", BOOLEAN, True),
        ("False\n", BOOLEAN, False),
        ("[1.0]", LIST, [1]),
        ('{"a": null}', STRUCT, {"a": None}),
    ],
)
def test_output_files(text: str, kind: ParameterType, result: Any) -> None:
    assert parse_output(text, kind, "x") == result


@pytest.mark.parametrize(
    ("text", "kind"),
    [("1.5", INTEGER), ("", DOUBLE), ("yes", BOOLEAN), ("{}", LIST), ("[", LIST), ("[" * 100000, LIST)],
)
def test_output_files_that_do_not_fit(text: str, kind: ParameterType) -> None:
    with pytest.raises(ValueProblem, match='output parameter "x" should be'):
        parse_output(text, kind, "x")


def test_given_outputs_are_held_against_their_declaration() -> None:
    assert check_output(2.0, INTEGER, "x") == 2
    with pytest.raises(ValueProblem, match="should be STRING, but the step gave number"):
        check_output(2.0, STRING, "x")


def test_what_json_has_no_number_for_is_told_by_its_name() -> None:
    with pytest.raises(ValueProblem, match="should be NUMBER_DOUBLE, but the step gave NaN, which JSON has no number"):
        check_output("NaN", DOUBLE, "x")
    with pytest.raises(ValueProblem, match="should be NUMBER_DOUBLE, but the step wrote 'inf'"):
        parse_output("inf", DOUBLE, "x")
    assert parse_output("[NaN, 1.0]", LIST, "x") == ["NaN", 1]
    assert check_output("NaN", STRING, "x") == "NaN"
