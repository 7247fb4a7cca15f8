"""A step's pod as one to debug in: what stays, what goes, what runs instead."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ketch.cli.debugging import cloning
from ketch.cli.debugging.cloning import debug_pod, first_line, is_lightweight

SOURCE = "import kfp\n\ndef helper():\n    pass\n\ndef train(text: str):\n    '''Doc.'''\n    print(text)\n"
RUN = 'printf "%s" "$0" > "$d/ephemeral_component.py"; python3 -m kfp.dsl.executor_main "$@"'
LIGHTWEIGHT = {
    "command": ["sh", "-c", 'pip install x && "$0" "$@"', "sh", "-ec", RUN, SOURCE],
    "args": ["--executor_input", "{}", "--function_to_execute", "train"],
}
OBJECTS = {"driver": "objects.ketch.dev", "volumeAttributes": {"path": "out"}}


def step_pod(**main: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "step",
            "namespace": "kubeflow",
            "uid": "u1",
            "labels": {"pipelines.kubeflow.org/run-id": "r"},
            "annotations": {
                "environment.ketch.dev/packages": '["x"]',
                "environment.ketch.dev/process": "{}",
                "pipelines.kubeflow.org/task-path": "a",
                "mine": "yes",
            },
        },
        "spec": {
            "nodeName": "n1",
            "serviceAccountName": "runner",
            "nodeSelector": {"disk": "fast"},
            "initContainers": [{"name": "fetch"}, {"name": "deliver", "restartPolicy": "Always"}],
            "containers": [
                {
                    "name": "main",
                    "image": "python:3.11",
                    "env": [{"name": "A", "value": "1"}],
                    "volumeMounts": [{"name": "outputs", "mountPath": "/minio/out"}],
                    "livenessProbe": {},
                    **main,
                },
                {"name": "other"},
            ],
            "volumes": [
                {"name": "outputs", "csi": OBJECTS},
                {"name": "input-0", "csi": {**OBJECTS, "readOnly": True}},
                {"name": "secret", "secret": {"secretName": "s"}},
            ],
        },
    }


def test_what_makes_the_step_s_world_stays_and_what_would_act_goes():
    pod = debug_pod(step_pod(command=["run"]), "copy", "t1", ran=True)
    metadata, spec = pod["metadata"], pod["spec"]
    assert metadata["labels"] == {"debug.ketch.dev/task": "t1", "app.kubernetes.io/managed-by": "ketch-debug"}
    assert metadata["annotations"] == {"environment.ketch.dev/packages": '["x"]', "mine": "yes"}
    assert metadata["ownerReferences"][0]["uid"] == "u1"
    assert (spec["serviceAccountName"], spec["nodeSelector"]) == ("runner", {"disk": "fast"})
    assert "nodeName" not in spec
    assert (spec["restartPolicy"], spec["activeDeadlineSeconds"]) == ("Never", cloning.DAY_SECONDS)
    assert [each["name"] for each in spec["initContainers"]] == ["fetch"]
    (main,) = spec["containers"]
    assert (main["image"], main["env"]) == ("python:3.11", [{"name": "A", "value": "1"}])
    assert "livenessProbe" not in main
    assert "args" not in main


@pytest.mark.parametrize("ran", [True, False])
def test_outputs_are_the_pod_s_own_and_recorded_ones_can_only_be_read(ran):
    spec = debug_pod(step_pod(), "copy", "t1", ran=ran)["spec"]
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert volumes["outputs"] == {"name": "outputs", "emptyDir": {}}
    assert volumes["input-0"]["csi"]["readOnly"]
    assert "secret" in volumes
    mounts = spec["containers"][0]["volumeMounts"]
    assert {"name": "outputs", "mountPath": "/minio/out"} in mounts
    recorded = {"name": "recorded-0", "mountPath": cloning.RECORDED, "readOnly": True}
    assert (recorded in mounts) is ran
    assert ("recorded-0" in volumes) is ran
    assert not ran or volumes["recorded-0"]["csi"]["readOnly"]


def test_a_pod_told_from_rows_has_no_owner():
    step = step_pod()
    del step["metadata"]["uid"]
    assert "ownerReferences" not in debug_pod(step, "copy", "t1", ran=False)["metadata"]


def test_the_first_line_of_a_function_is_where_pdb_stops():
    assert first_line(SOURCE, "train") == 8
    assert first_line(SOURCE, "helper") == 4
    assert first_line(SOURCE, "absent") == 0
    assert first_line("def broken(:", "broken") == 0


def test_only_functions_of_the_sdk_can_be_debugged_as_python():
    assert is_lightweight(step_pod(**LIGHTWEIGHT))
    assert not is_lightweight(step_pod(command=["sh", "-c", "echo"]))


def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **main: Any) -> Path:
    """Run the idle process's shell text as Kubernetes would start it, until it has written its scripts."""
    command = debug_pod(step_pod(**main), "copy", "t1", ran=False)["spec"]["containers"][0]["command"]
    folder = tmp_path / "debug"
    text = command[2].replace("$$", "$").replace(cloning.FOLDER, str(folder)).partition("idle=0")[0]
    subprocess.run([command[0], "-c", text, *command[3:]], check=True, timeout=20)
    assert (folder / "ready").exists()
    return folder


@pytest.mark.parametrize("word", ["it's", "two\nlines\n", "", '$HOME `id` \\ "q"', "*", "-n", "ünï"])
def test_the_step_s_words_go_through_the_scripts_unchanged(tmp_path, monkeypatch, word):
    folder = scripts(tmp_path, monkeypatch, command=["sh", "-c", 'printf "[%s]" "$0" "$@"'], args=[word, "last"])
    result = subprocess.run([folder / "step"], check=True, capture_output=True, timeout=20)
    assert result.stdout.decode() == f"[{word}][last]"
    assert not (folder / "pdb").exists()


def test_pdb_gets_the_module_and_the_very_arguments(tmp_path, monkeypatch):
    folder = scripts(tmp_path, monkeypatch, **LIGHTWEIGHT)
    assert (folder / "ephemeral_component.py").read_text() == SOURCE
    words = (folder / "pdb").read_text().split()
    assert words[:6] == ["#!/bin/sh", "_KFP_RUNTIME=true", "exec", "python3", "-m", "pdb"]
    assert f'{folder}/ephemeral_component.py:8"' in words
    assert words[-4:] == ["'--executor_input'", "'{}'", "'--function_to_execute'", "'train'"]
