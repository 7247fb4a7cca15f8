"""A packaged program as a TrainJob and the ConfigMap of its files. Pure, on JSON.

What a TrainJob cannot say itself (the files' volume, how often it begins again) is a runtime patch, as the official
SDK's options are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ketch.cli.training.packaging import FOLDER, LAUNCHER, Program
from ketch.training.checkpoints.contract import KEEP, VOLUME
from ketch.training.checkpoints.volumes import DIRECTORY_VARIABLE
from ketch.training.equipment import CLIENT
from ketch.training.trainjobs.assembly import ANCESTOR, DATASET, MODEL, TRAINER
from ketch.training.trainjobs.runtimes import FRAMEWORK
from ketch.training.trainjobs.types import GROUP, VERSION

JSON = dict[str, Any]

API_VERSION: Final = f"{GROUP}/{VERSION}"
PATCHES: Final = "ketch.dev/train"
"""The manager of the patches made here."""

SUBMITTED: Final = "training.ketch.dev/submitted-by"
_VOLUME: Final = "ketch-program"
_SERVER: Final = "KUBEFLOW_TRAINER_SERVER"
_TOLD: Final = ("PYTHONPATH", f"{_SERVER}_URL", f"{_SERVER}_CA_CERT", f"{_SERVER}_TOKEN")
_OF_CHECKPOINTS: Final = (DIRECTORY_VARIABLE, "KETCH_RESUME_FROM")
"""Variables of the launcher's that mpirun must be told to hand on to other nodes; elsewhere all are inherited."""

LONGEST_NAME: Final = 40
"""Of a job's name, so that pods' names and hosts, which begin with it, are legal."""


@dataclass(frozen=True)
class Wish:
    """What is to be trained, and where."""

    name: str
    namespace: str
    program: Program
    runtime: Mapping[str, Any] = field(default_factory=dict[str, Any])
    nodes: int | None = None
    processes: int | None = None
    image: str = ""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    resources: Mapping[str, str] = field(default_factory=dict[str, str])
    checkpoints: str = ""
    """Where they are kept: ``auto``, or a claim; empty for nowhere."""

    keep: str = ""
    restarts: int = 0
    deadline: int | None = None


def framework_of(runtime: Mapping[str, Any]) -> str:
    """How processes of a runtime are started: torch, mpi, or python for those that find each other themselves."""
    policy: Mapping[str, Any] = runtime["spec"].get("mlPolicy") or {}
    return next((each for each in ("torch", "mpi") if policy.get(each) is not None), "python")


def command_of(program: Program, framework: str, variables: Iterable[str] = ()) -> list[str]:
    """What a node, or what launches the others, runs; ``variables`` are those that other nodes are to have."""
    if framework == "mpi":
        exported = [word for name in (*_TOLD, *variables) for word in ("-x", name)]
        return ["mpirun", "--tag-output", *exported, "python3", "-u", f"{FOLDER}/{program.script}", *program.arguments]
    return ["python3", "-u", f"{FOLDER}/{LAUNCHER}", framework, program.script, *program.arguments]


def config_map_of(wish: Wish) -> JSON:
    """The program's files."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": config_map_name(wish.name), "namespace": wish.namespace},
        **wish.program.config_map(),
    }


def config_map_name(job: str) -> str:
    """The ConfigMap of a job's program."""
    return f"{job}-program"


def trainjob_of(wish: Wish) -> JSON:
    """The TrainJob."""
    variables = [*wish.environment, *(_OF_CHECKPOINTS if wish.checkpoints else ())]
    command = command_of(wish.program, framework_of(wish.runtime), variables)
    trainer: JSON = {"command": command, "env": [{"name": k, "value": v} for k, v in wish.environment.items()]}
    if wish.nodes is not None:
        trainer["numNodes"] = wish.nodes
    if wish.processes is not None:
        trainer["numProcPerNode"] = wish.processes
    if wish.image:
        trainer["image"] = wish.image
    if wish.resources:
        trainer["resourcesPerNode"] = {"requests": dict(wish.resources), "limits": dict(wish.resources)}
    annotations = {CLIENT: "true", SUBMITTED: "ketch train"}
    if wish.checkpoints:
        annotations[VOLUME] = wish.checkpoints
    if wish.keep:
        annotations[KEEP] = wish.keep
    runtime = wish.runtime
    spec: JSON = {
        "runtimeRef": {"name": runtime["metadata"]["name"], "kind": runtime["kind"], "apiGroup": GROUP},
        "trainer": trainer,
        "runtimePatches": [{"manager": PATCHES, "trainingRuntimeSpec": {"template": {"spec": _patch(wish)}}}],
    }
    if wish.deadline is not None:
        spec["activeDeadlineSeconds"] = wish.deadline
    metadata = {"name": wish.name, "namespace": wish.namespace, "annotations": annotations}
    return {"apiVersion": API_VERSION, "kind": "TrainJob", "metadata": metadata, "spec": spec}


def _patch(wish: Wish) -> JSON:
    """The files in every pod that trains. All begin again together when one fails, as often as is wished."""
    source = {"name": config_map_name(wish.name), "items": wish.program.items()}
    volume = {"name": _VOLUME, "configMap": source}
    mount = {"name": _VOLUME, "mountPath": FOLDER, "readOnly": True}
    patches: list[JSON] = []
    for replicated in wish.runtime["spec"]["template"]["spec"]["replicatedJobs"]:
        if step_of(replicated) in (DATASET, MODEL):
            continue
        template = replicated["template"]
        containers = template["spec"]["template"]["spec"].get("containers", ())
        pod: JSON = {
            "volumes": [volume],
            "containers": [{"name": each["name"], "volumeMounts": [mount]} for each in containers],
        }
        job: JSON = {"template": {"spec": pod}}
        if step_of(replicated) == TRAINER:
            pod["restartPolicy"] = "Never"
            job["backoffLimit"] = 0
        patches.append({"name": replicated["name"], "template": {"spec": job}})
    restarts = {"failurePolicy": {"maxRestarts": wish.restarts}} if wish.restarts else {}
    return {"replicatedJobs": patches, **restarts}


def step_of(replicated: Mapping[str, Any]) -> str:
    """Which step of a TrainJob a runtime's replicated job is."""
    return str(replicated["template"].get("metadata", {}).get("labels", {}).get(ANCESTOR, ""))


def choose_runtime(found: Sequence[Mapping[str, Any]], words: str) -> Mapping[str, Any] | None:
    """The runtime that is meant: by its name, by its name before ``-distributed``, or by its framework."""
    by_name = {each["metadata"]["name"]: each for each in reversed(found)}
    by_framework = {each["metadata"].get("labels", {}).get(FRAMEWORK, ""): each for each in reversed(found)}
    return by_name.get(words) or by_name.get(f"{words}-distributed") or by_framework.get(words)
