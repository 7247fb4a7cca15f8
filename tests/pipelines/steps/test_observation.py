"""What pods say, in words that help."""

from typing import Any

import pytest

from ketch.kube.codec import decode
from ketch.kube.types.core import Pod
from ketch.pipelines.steps.observation import Observation, Phase, observe, useful_end

TRACE = """[KFP Executor 2026-01-01 INFO]: Got executor_input:
{ "a": "b" }
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/env/kfp/dsl/executor.py", line 409, in execute
    result = self.func(**func_kwargs)
  File "/tmp/tmp.x/ephemeral_component.py", line 7, in train
    raise ValueError(why)
ValueError: two
lines
"""


def a_pod(**status: Any) -> Pod:
    return decode(Pod, {"status": status, "spec": {"containers": [{"name": "main", "resources": {}}]}})


def container(**state: Any) -> list[Any]:
    return [{"name": "main", "state": state}]


def ended(code: int, message: str = "", reason: str = "Error", **more: Any) -> list[Any]:
    return container(terminated={"exitCode": code, "message": message, "reason": reason, **more})


BACK_OFF = {"reason": "ImagePullBackOff", "message": "m"}
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}


@pytest.mark.parametrize(
    ("status", "observation"),
    [
        pytest.param({}, Observation(Phase.WAITING), id="new"),
        pytest.param(
            {"phase": "Running", "containerStatuses": container(running={})}, Observation(Phase.RUNNING), id="runs"
        ),
        pytest.param({"phase": "Succeeded"}, Observation(Phase.SUCCEEDED), id="ended"),
        pytest.param(
            {"phase": "Pending", "conditions": [UNSCHEDULABLE]},
            Observation(Phase.WAITING, "Unschedulable: 0/1 nodes"),
            id="no room",
        ),
        pytest.param(
            {"phase": "Pending", "containerStatuses": container(waiting=BACK_OFF)},
            Observation(Phase.WAITING, "ImagePullBackOff: m", trouble=True),
            id="no image yet",
        ),
        pytest.param(
            {"phase": "Pending", "containerStatuses": container(waiting={"reason": "InvalidImageName"})},
            Observation(Phase.WAITING, "InvalidImageName", trouble=True, hopeless=True),
            id="never an image",
        ),
        pytest.param(
            {"phase": "Pending", "containerStatuses": container(waiting={"reason": "ContainerCreating"})},
            Observation(Phase.WAITING),
            id="on its way",
        ),
        pytest.param(
            {
                "phase": "Pending",
                "containerStatuses": container(waiting={"reason": "ContainerCreating", "message": "no secret"}),
            },
            Observation(Phase.WAITING, "ContainerCreating: no secret", trouble=True),
            id="no volume yet",
        ),
    ],
)  # fmt: skip
def test_phases(status: dict[str, Any], observation: Observation) -> None:
    assert observe(a_pod(**status)) == observation


@pytest.mark.parametrize(
    ("status", "message"),
    [
        pytest.param({"containerStatuses": ended(3, "last words\n")}, "exit code 3: last words", id="exit code"),
        pytest.param({"containerStatuses": ended(3)}, "exit code 3", id="silent"),
        pytest.param({"containerStatuses": ended(137, "", signal=9)}, "exit code 137 (signal 9)", id="killed"),
        pytest.param(
            {"containerStatuses": ended(137, "", "OOMKilled")},
            "OOMKilled: the step used more memory than its limit",
            id="out of memory",
        ),
        pytest.param(
            {"containerStatuses": ended(128, "no such file", "StartError")}, "StartError: exit code 128: no such file",
            id="no command",
        ),
        pytest.param(
            {"containerStatuses": ended(143, "Terminated", "NodeShutdown")},
            "NodeShutdown: the platform was stopped while the step ran; retry the run and it goes on from here",
            id="ketch down",
        ),
        pytest.param({"reason": "DeadlineExceeded", "message": "60 s"}, "DeadlineExceeded: 60 s", id="deadline"),
        pytest.param({"reason": "Evicted", "message": "disk"}, "Evicted: disk", id="evicted"),
        pytest.param({}, "the pod failed and says no reason", id="nothing"),
    ],
)  # fmt: skip
def test_failures(status: dict[str, Any], message: str) -> None:
    assert observe(a_pod(phase="Failed", **status)) == Observation(Phase.FAILED, message)


def test_what_was_missing_before_a_step_failed_is_told() -> None:
    missed = ended(0, "https://h/x cannot be fetched: HTTP Error 404: Not Found\n", "Completed")
    pod = a_pod(phase="Failed", initContainerStatuses=missed, containerStatuses=ended(1, "no file"))
    told = "exit code 1: no file (before it began: https://h/x cannot be fetched: HTTP Error 404: Not Found)"
    assert observe(pod) == Observation(Phase.FAILED, told)


def test_of_a_traceback_the_last_frame_and_the_exception_count() -> None:
    assert useful_end(TRACE).splitlines() == [
        '  File "/tmp/tmp.x/ephemeral_component.py", line 7, in train',
        "    raise ValueError(why)",
        "ValueError: two",
        "lines",
    ]


def test_of_other_output_the_last_lines_count() -> None:
    assert useful_end("\n".join(map(str, range(40)))).splitlines()[0] == "28"
    assert len(useful_end("x" * 5000)) < 1600


def test_what_the_sdk_s_executor_says_of_itself_is_no_reason():
    said = "[KFP Executor 2026-01-01 10:00:00,000 INFO]: Looking for component `f`\n"
    said += '[KFP Executor 2026-01-01 10:00:00,000 INFO]: Got executor_input:\n{\n    "inputs": {\n    }\n}\n'
    assert useful_end(said) == ""
    assert useful_end(f"{said}no space left\n") == "no space left"


def test_colours_are_for_terminals():
    assert useful_end("\x1b[31mAttributeError\x1b[39m: no \x1b[1;32mupper\x1b[0m\n") == "AttributeError: no upper"
