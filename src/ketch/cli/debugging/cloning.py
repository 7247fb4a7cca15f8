"""A pod like a step's, in which nothing runs yet: same image, inputs, environment, volumes; outputs of its own. Pure.

The pod leaves by itself when nobody is in it any more, and after a day in any case, whatever becomes of the command
that made it.
"""

import ast
import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ketch.cli.runs.steps import part

Pod = Mapping[str, Any]

MAIN: Final = "main"
LABEL: Final = "debug.ketch.dev/task"
FOLDER: Final = "/tmp/ketch-debug"  # noqa: S108  # the container's own, not the machine's
READY: Final = f"{FOLDER}/ready"
STEP_SCRIPT: Final = f"{FOLDER}/step"
PDB_SCRIPT: Final = f"{FOLDER}/pdb"
RECORDED: Final = "/tmp/recorded-outputs"  # noqa: S108
"""Where the outputs that the step left can be read."""

DAY_SECONDS: Final = 86400
LOOK_SECONDS, MOST_LOOKS = 2, 10
"""The pod leaves after so many looks at which nobody was in it."""

_OBJECTS: Final = "objects.ketch.dev"
_FOREIGN_ANNOTATIONS: Final = (
    "environment.ketch.dev/process",  # the idle process is no such process
    "pipelines.ketch.dev/",
    "pipelines.kubeflow.org/",
    "kubectl.kubernetes.io/",
)
_RUNNERS: Final = ("kfp.dsl.executor_main", "ephemeral_component.py")
_FUNCTION: Final = "--function_to_execute"

_PREPARE = f"""
set -e
mkdir -p {FOLDER}
source=$1 line=$2; shift 2
quoted() {{ printf "%s\\n" "$1" | sed "s/'/'\\\\\\\\''/g; 1s/^/'/; \\$s/\\$/'/"; }}
{{ printf '#!/bin/sh\\nexec'; for word; do printf ' %s' "$(quoted "$word")"; done; echo ' "$@"'; }} > {STEP_SCRIPT}
if [ "$source" -gt 0 ]; then
    shift "$source"
    printf '%s' "$1" > {FOLDER}/ephemeral_component.py; shift
    {{ printf '#!/bin/sh\\n_KFP_RUNTIME=true exec python3 -m pdb'
      [ "$line" -eq 0 ] || printf ' -c "b {FOLDER}/ephemeral_component.py:%s" -c continue' "$line"
      printf ' -m kfp.dsl.executor_main --component_module_path {FOLDER}/ephemeral_component.py'
      for word; do printf ' %s' "$(quoted "$word")"; done; echo; }} > {PDB_SCRIPT}
fi
chmod +x {FOLDER}/*
: > {READY}
set +e
idle=0
while [ $idle -lt {MOST_LOOKS} ]; do
    sleep {LOOK_SECONDS}
    idle=$((idle + 1))
    for process in /proc/[0-9]*; do
        case $process in /proc/1 | /proc/$$) ;; *) idle=0 ;; esac
    done
done
"""


def debug_pod(step: Pod, name: str, task_id: str, *, ran: bool) -> dict[str, Any]:
    """The pod to create for the step whose pod is ``step``; ``name`` is the new one's.

    Only a step that ``ran`` has left outputs which can be mounted.
    """
    metadata, spec = step["metadata"], copy.deepcopy(dict(step["spec"]))
    main = next(item for item in spec["containers"] if item["name"] == MAIN)
    outputs = _own_outputs(spec, main, ran=ran)
    for field in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "ports", "args"):
        argument = main.pop(field, None)
        if field == "args":
            main["command"] = _command([*main.get("command", ()), *(argument or ())])
    spec |= {
        "containers": [main],
        "initContainers": [c for c in spec.get("initContainers", ()) if c.get("restartPolicy") != "Always"],
        "volumes": [*outputs, *(v for v in spec.get("volumes", ()) if v["name"] not in {o["name"] for o in outputs})],
        "restartPolicy": "Never",
        "activeDeadlineSeconds": DAY_SECONDS,
        "terminationGracePeriodSeconds": 1,
    }
    spec.pop("nodeName", None)
    annotations = part(metadata, "annotations")
    owner = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata.get("uid", "")}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {LABEL: task_id, "app.kubernetes.io/managed-by": "ketch-debug"},
            "annotations": {k: v for k, v in annotations.items() if not k.startswith(_FOREIGN_ANNOTATIONS)},
            **({"ownerReferences": [owner]} if owner["uid"] else {}),
        },
        "spec": spec,
    }


def is_lightweight(step: Pod) -> bool:
    """Whether the step runs a Python function by the SDK's executor, which is what pdb can stop in."""
    return _source_of(_argv(step)) is not None


def _argv(step: Pod) -> Sequence[str]:
    main = next(item for item in step["spec"]["containers"] if item["name"] == MAIN)
    return [*main.get("command", ()), *main.get("args", ())]


def _command(argv: Sequence[str]) -> Sequence[str]:
    """The idle process; it leaves scripts behind that run the step, as it is and under pdb.

    The step's words go through it as they are, so that variables in them are filled in as they always were.
    """
    source = _source_of(argv)
    position = 0 if source is None else source
    line = 0 if source is None else first_line(argv[source], _function(argv))
    script = _PREPARE.replace("$", "$$")  # Kubernetes reads $(...) as a variable
    return ["sh", "-c", script, "ketch-debug", str(position), str(line), *argv]


def _source_of(argv: Sequence[str]) -> int | None:
    """Which word is the module's source: the one after the shell text that writes it into a file."""
    for position, word in enumerate(argv[:-1]):
        if all(runner in word for runner in _RUNNERS):
            return position + 1
    return None


def _function(argv: Sequence[str]) -> str:
    position = argv.index(_FUNCTION) + 1 if _FUNCTION in argv else 0
    return argv[position] if 0 < position < len(argv) else ""


def first_line(source: str, function: str) -> int:
    """The line of the first statement of ``function``; 0 where there is none to find."""
    try:
        module = ast.parse(source)
    except SyntaxError:
        return 0
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function:
            body = node.body[1:] if ast.get_docstring(node) is not None and len(node.body) > 1 else node.body
            return body[0].lineno
    return 0


def _own_outputs(spec: Mapping[str, Any], main: dict[str, Any], *, ran: bool) -> list[dict[str, Any]]:
    """Empty directories instead of the store's that the step writes to; these are mounted elsewhere, to be read."""
    written = [v for v in spec.get("volumes", ()) if _is_output(v)]
    recorded: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    for number, volume in enumerate(written):
        name = f"recorded-{number}"
        csi = {**volume["csi"], "readOnly": True}
        recorded.append({"name": volume["name"], "emptyDir": {}})
        if not ran:
            continue
        recorded.append({"name": name, "csi": csi})
        mounts.append({"name": name, "mountPath": RECORDED + (f"-{number}" if number else ""), "readOnly": True})
    main["volumeMounts"] = [*main.get("volumeMounts", ()), *mounts]
    return recorded


def _is_output(volume: Mapping[str, Any]) -> bool:
    csi = part(volume, "csi")
    return csi.get("driver") == _OBJECTS and not csi.get("readOnly")
