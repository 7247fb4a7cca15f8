"""Command lines: left alone wherever they can be."""

from typing import Any

import pytest

from ketch.pipelines.ir.spec import (
    ArtifactType,
    ComponentSpec,
    ContainerSpec,
    OutputArtifact,
    OutputDefinitions,
)
from ketch.pipelines.steps.commands import EXECUTOR, LONGEST_WORD
from ketch.pipelines.steps.layout import place_of
from ketch.pipelines.steps.placeholders import Names
from ketch.pipelines.steps.pods import Made, made
from ketch.pipelines.steps.process import PROCESS_ANNOTATION
from ketch.pipelines.steps.step import PodProblem, Step
from ketch.pipelines.values import Values

INSTALL = (
    '\nif ! [ -x "$(command -v pip)" ]; then\n    python3 -m ensurepip || python3 -m ensurepip --user || '
    "apt-get install python3-pip\nfi\n\nPIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet "
    '--no-warn-script-location \'six\' && "$0" "$@"\n'
)
PROGRAM = (
    'program_path=$(mktemp -d)\n\nprintf "%s" "$0" > "$program_path/ephemeral_component.py"\n'
    f"_KFP_RUNTIME=true python3 -m {EXECUTOR}                         --component_module_path"
    '                         "$program_path/ephemeral_component.py"                         "$@"\n'
)
ARGS = ("--executor_input", "{{$}}", "--function_to_execute", "f")


def a_step(command: tuple[str, ...], args: tuple[str, ...] = ARGS, kind: str = "", **parameters: Any) -> Step:
    artifact = OutputArtifact(artifact_type=ArtifactType(schema_title=kind))
    outputs = OutputDefinitions(artifacts={"a": artifact} if kind else {})
    return Step(
        namespace="kubeflow",
        run_id="run",
        task_id="id",
        path="root/f",
        pod_name="p-f",
        attempt=0,
        retries=False,
        service_account="",
        names=Names(),
        place=place_of("minio://mlpipeline/v2/artifacts", "p", "run", ("f", "id"), 0),
        component=ComponentSpec(executor_label="e", output_definitions=outputs),
        container=ContainerSpec(image="python:3.11", command=command, args=args),
        inputs=Values(parameters),
    )


def python(source: str, kind: str = "", **parameters: Any) -> Made:
    return made(a_step(("sh", "-c", INSTALL, "sh", "-ec", PROGRAM, source), kind=kind, **parameters), ())


@pytest.mark.parametrize(
    ("source", "kind", "elsewhere"),
    [
        ("open(a.path, 'w')", "system.Dataset", False),
        ("a.custom_path = '/x'", "system.Dataset", True),
        ("a.set_path('/x')", "system.Model", True),
        ("a.uri = 's3://x/y'", "system.Model", True),
        ("a.path = '/x'", "system.Model", True),
        ("if a.uri == 'x': pass", "system.Model", False),
        ("return Dataset(uri=dsl.get_uri('x'))", "system.Dataset", False),
        ("return Dataset(uri=get_uri('x'))", "system.Dataset", False),
        ("return Dataset(uri='gs://x/y')", "system.Dataset", True),
        ("a.custom_path = '/x'", "system.Metrics", False),
        ("a.custom_path = '/x'", "", False),
    ],
)
def test_only_code_that_says_where_its_artifacts_are_is_not_left_alone(
    source: str, kind: str, *, elsewhere: bool
) -> None:
    found = python(source, kind)
    main = found.pod.spec.containers[0]
    assert (main.command[:2], main.args[0]) == (("sh", "-c"), source if elsewhere else "--executor_input")
    assert (PROCESS_ANNOTATION in found.pod.metadata.annotations) is not elsewhere
    assert ("-c" in main.command[3:]) is elsewhere
    assert found.files == {}


def test_a_component_in_an_image_may_leave_its_artifacts_anywhere() -> None:
    command = ("python3", "-m", EXECUTOR)
    plain = made(a_step(command), ()).pod.spec.containers[0]
    watched = made(a_step(command, kind="system.Model"), ()).pod.spec.containers[0]
    assert plain.command == command
    assert watched.command[:2] == ("python3", "-c")
    assert [watched.args[index] for index in (0, 2, 3)] == [ARGS[index] for index in (0, 2, 3)]


def test_long_words_are_files_that_the_step_reads_as_one_more_input() -> None:
    found = python("s" * (LONGEST_WORD + 1), text="t" * (LONGEST_WORD + 1))
    main = found.pod.spec.containers[0]
    place = "minio://mlpipeline/v2/artifacts/p/run/f/id-arguments"
    assert set(found.files) == {f"{place}/0", f"{place}/2"}
    assert main.args == ("", "--executor_input", "", "--function_to_execute", "f")
    mounts = {mount.mount_path: mount.read_only for mount in main.volume_mounts}
    assert mounts["/minio/mlpipeline/v2/artifacts/p/run/f/id-arguments"] is True
    assert max(len(word) for word in (*main.command, *main.args)) < 10_000


def test_a_line_of_many_words_is_shortened_too() -> None:
    words = tuple(f"{number:04}" * 500 for number in range(3000))
    found = made(a_step(("sh", "-c", "echo $#", "sh"), words), ())
    main = found.pod.spec.containers[0]
    assert sum(map(len, (*main.command, *main.args))) < 1.3 * 2**20
    assert max(map(len, (*main.command, *main.args))) <= LONGEST_WORD
    read = b"".join(found.files.values()).decode()
    assert all(word in read or word in main.args for word in words)
    assert read.endswith("\necho $#")


@pytest.mark.parametrize("command", [("echo",), ("python3", "-c"), ("sh",), ()])
def test_other_programs_are_told_what_linux_takes(command: tuple[str, ...]) -> None:
    with pytest.raises(PodProblem, match="and Linux takes 131071: pass large values as artifacts"):
        made(a_step(command, ("x" * (LONGEST_WORD + 1),)), ())
