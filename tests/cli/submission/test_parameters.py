"""Typed texts as a run's parameters."""

import pytest

from ketch.cli.submission.parameters import ParameterProblem, parameters_of

DECLARED = {
    "text": {"parameterType": "STRING", "defaultValue": "x"},
    "count": {"parameterType": "NUMBER_INTEGER", "isOptional": True},
    "rate": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 0.5},
    "flag": {"parameterType": "BOOLEAN", "defaultValue": False},
    "items": {"parameterType": "LIST", "isOptional": True},
    "table": {"parameterType": "STRUCT", "isOptional": True},
}


def spec(**declared):
    return {"root": {"inputDefinitions": {"parameters": declared}}}


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("text=10", "10"),
        ("text=a=b", "a=b"),
        ("text=", ""),
        ("text=null", "null"),
        ("count=3", 3),
        ("count=3.0", 3),
        ("count=1e3", 1000),
        ("count=null", None),
        ("rate=2", 2),
        ("rate=1e-3", 0.001),
        ("flag=true", True),
        ("flag=No", False),
        ('items=[1, "a"]', [1, "a"]),
        ('table={"a": {"b": 1}}', {"a": {"b": 1}}),
    ],
)
def test_values_follow_the_declared_types(given, value):
    found = parameters_of([given], spec(**DECLARED))
    assert list(found.values()) == [value]
    assert type(next(iter(found.values()))) is type(value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("novalue", "-p takes key=value, not 'novalue'"),
        ("=3", "-p takes key=value, not '=3'"),
        ("count=abc", "parameter count takes an integer, not 'abc'"),
        ("count=2.5", "parameter count takes an integer, not '2.5'"),
        ("rate=nan", "parameter rate takes a number, not 'nan'"),
        ("flag=maybe", "parameter flag takes true or false, not 'maybe'"),
        ("items=1,2", r"parameter items takes a list as JSON, like \[1, 2\], not '1,2'"),
        ('items={"a": 1}', "parameter items takes a list"),
        ("table=[1]", "parameter table takes an object"),
        ("cuont=3", "no parameter 'cuont': did you mean 'count'"),
    ],
)
def test_what_is_no_value_is_refused_and_named(given, message):
    with pytest.raises(ParameterProblem, match=message):
        parameters_of([given], spec(**DECLARED))


def test_an_unknown_parameter_is_answered_with_those_there_are():
    with pytest.raises(ParameterProblem) as refused:
        parameters_of(["other=1"], spec(**DECLARED))
    assert "rate: a number (default 0.5)" in str(refused.value)
    with pytest.raises(ParameterProblem, match="takes no parameters"):
        parameters_of(["other=1"], {})


def test_missing_parameters_are_named_with_what_they_take():
    with pytest.raises(ParameterProblem, match=r"needs more: -p x=\(an integer\); -p y=\(text\)"):
        parameters_of([], spec(x={"parameterType": "NUMBER_INTEGER"}, y={"parameterType": "STRING"}))


def test_a_parameter_given_twice_is_refused():
    with pytest.raises(ParameterProblem, match="count is given twice"):
        parameters_of(["count=1", "count=2"], spec(**DECLARED))


def test_the_form_with_a_platform_specification_is_understood():
    assert parameters_of(["count=1"], {"pipeline_spec": spec(**DECLARED), "platform_spec": {}}) == {"count": 1}
