"""Every placeholder form, replaced once; structures in command lines."""

import json

import pytest

from ketch.pipelines.steps.layout import artifact_path
from ketch.pipelines.steps.placeholders import Names, PlaceholderError, Scope, expand, expand_command, expand_text
from ketch.pipelines.values import Artifact

DATA = Artifact(id="7", name="data", type="system.Dataset", uri="minio://b/k", metadata={"n": 2.0, "l": [1]})
SCOPE = Scope(
    names=Names(pipeline_job_name="my run", pipeline_task_name="train", pipeline_root="minio://b"),
    parameters={"t": 'a "b"', "n": 3.0, "l": [1.0], "none": None, "trap": "{{$.inputs.parameters['n']}}"},
    inputs={"data": (DATA,)},
    outputs={"model": Artifact(id="", name="model", type="system.Model", uri="gs://b/m")},
    output_files={"out": "/minio/b/out"},
    output_file="/minio/b/executor_output.json",
    executor_input={"inputs": {"parameterValues": {"t": 'a "b"', "n": 3.0}}},
    artifact_path=artifact_path,
)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("{{$.inputs.parameters['t']}}", 'a "b"'),
        ("-{{$.inputs.parameters['n']}}-{{$.inputs.parameters['l']}}-", "-3-[1]-"),
        ('{{$.inputs.parameters["n"]}}', "3"),
        ("{{$.inputs.parameters['none']}}{{$.inputs.parameters['absent']}}", ""),
        ("{{$.inputs.parameters['trap']}}", "{{$.inputs.parameters['n']}}"),
        ("{{$.inputs.artifacts['data'].uri}}", "minio://b/k"),
        ("{{$.inputs.artifacts['data'].path}}", "/minio/b/k"),
        ("{{$.inputs.artifacts['data'].metadata['n']}}", "2"),
        ("{{$.inputs.artifacts['data'].metadata}}", '{"n":2,"l":[1]}'),
        ("{{$.inputs.artifacts['absent'].path}}", ""),
        ("{{$.outputs.artifacts['model'].path}}", "/gcs/b/m"),
        ("{{$.outputs.artifacts['model'].uri}}", "gs://b/m"),
        ("{{$.outputs.parameters['out'].output_file}}", "/minio/b/out"),
        ("{{$.outputs.output_file}}", "/minio/b/executor_output.json"),
        ("{{$.pipeline_job_name}}/{{$.pipeline_task_name}}/{{$.pipeline_root}}", "my run/train/minio://b"),
        ("{{ jinja }} {{$x}} $.pipeline_root", "{{ jinja }} {{$x}} $.pipeline_root"),
    ],
)
def test_forms(text: str, result: str) -> None:
    assert expand_text(text, SCOPE) == result


@pytest.mark.parametrize(
    "text", ["{{$}}", "a {{$}} b", "{{$.outputs.output_file}}", "{{$.outputs.artifacts['m'].uri}}"]
)
def test_what_only_a_container_knows_stays_where_there_is_none(text: str) -> None:
    assert expand_text(text, Scope(names=SCOPE.names)) == text


def test_the_executor_input_is_json_whatever_is_in_it() -> None:
    assert json.loads(expand_text("{{$}}", SCOPE)) == {"inputs": {"parameterValues": {"t": 'a "b"', "n": 3}}}


@pytest.mark.parametrize("text", ["{{$.nothing}}", "{{ $.inputs }}", "{{$item.uri}}"])
def test_a_users_text_that_looks_alike_stays_as_it_is(text: str) -> None:
    assert expand_text(text, SCOPE) == text


@pytest.mark.parametrize(
    "text",
    [
        "{{$.pipeline_nothing}}",
        "{{$.outputs.artifacts['x'].uri}}",
        "{{$.inputs.artifacts['data'].size}}",
        "{{$.inputs}}",
    ],
)
def test_unknown_placeholders_are_named(text: str) -> None:
    with pytest.raises(PlaceholderError) as caught:
        expand_text(text, SCOPE)
    assert text in str(caught.value)


def test_constants_are_expanded_at_every_depth() -> None:
    given = {"a": ["{{$.inputs.parameters['n']}}", 1, None], "{{$.pipeline_task_name}}": True}
    assert expand(given, SCOPE) == {"a": ["3", 1, None], "train": True}


PRESENT, ABSENT = "n", "absent"


@pytest.mark.parametrize(
    ("structure", "words"),
    [
        ({"Concat": ["a-", "{{$.inputs.parameters['n']}}", "-b"]}, ["a-3-b"]),
        ({"IfPresent": {"InputName": PRESENT, "Then": ["--n", "{{$.inputs.parameters['n']}}"]}}, ["--n", "3"]),
        ({"IfPresent": {"InputName": ABSENT, "Then": ["--n"], "Else": ["--none", "x"]}}, ["--none", "x"]),
        ({"IfPresent": {"InputName": ABSENT, "Then": "--n"}}, []),
        ({"IfPresent": {"InputName": "data", "Then": "given"}}, ["given"]),
        ({"IfPresent": {"InputName": "none", "Then": "given", "Else": "not"}}, ["not"]),
        ({"Concat": ["a", {"IfPresent": {"InputName": PRESENT, "Then": {"Concat": ["b", "c"]}}}, "d"]}, ["abcd"]),
        ({"Concat": ["a", {"IfPresent": {"InputName": ABSENT, "Then": "b"}}, "d"]}, ["ad"]),
        ({"IfPresent": {"InputName": PRESENT, "Then": [{"Concat": ["x", "y"]}, "z"]}}, ["xy", "z"]),
    ],
)
def test_structures_become_words(structure: object, words: list[str]) -> None:
    assert expand_command(["first", json.dumps(structure), "last"], SCOPE) == ("first", *words, "last")


def test_a_values_text_is_never_a_structure() -> None:
    scope = Scope(names=Names(), parameters={"t": '{"Concat": ["a", "b"]}'})
    assert expand_command(["{{$.inputs.parameters['t']}}", '{"Concat": no json'], scope) == (
        '{"Concat": ["a", "b"]}',
        '{"Concat": no json',
    )
