"""What a namespace looks like from outside, and whether it looks as a manifest says it must.

Everything is read through the official client's connection, as JSON: fields are held against what was written, not
against what a model makes of them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from kubernetes import client as kubernetes

JSON = dict[str, Any]

_CORE = "/api/v1/namespaces/{namespace}"
PATHS: Mapping[str, str] = {
    **{
        kind: f"{_CORE}/{kind}s" for kind in ("pod", "service", "configmap", "secret", "persistentvolumeclaim", "event")
    },
    "job": "/apis/batch/v1/namespaces/{namespace}/jobs",
    **{
        kind: f"/apis/kubeflow.org/v1/namespaces/{{namespace}}/{kind}s"
        for kind in ("tfjob", "pytorchjob", "xgboostjob", "paddlejob", "jaxjob", "mpijob")
    },
    "jobset": "/apis/jobset.x-k8s.io/v1alpha2/namespaces/{namespace}/jobsets",
    "trainjob": "/apis/trainer.kubeflow.org/v1alpha1/namespaces/{namespace}/trainjobs",
    "trainingruntime": "/apis/trainer.kubeflow.org/v1alpha1/namespaces/{namespace}/trainingruntimes",
    "podgroup": "/apis/scheduling.x-k8s.io/v1alpha1/namespaces/{namespace}/podgroups",
    "horizontalpodautoscaler": "/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers",
}
CONTAINS = "~"
"""How an expected text begins that need only be somewhere in the actual one."""

MAYBE = "?"
OWN_SERVICE = "kubernetes"
JOB_NAME = "batch.kubernetes.io/job-name"


class World:
    """One namespace."""

    def __init__(self, api: kubernetes.ApiClient, namespace: str) -> None:
        self._api, self.namespace = api, namespace

    def read(self, path: str, *, text: bool = False) -> Any:
        """What the server answers; None where there is nothing."""
        try:
            answer: Any = self._api.call_api(
                path.format(namespace=self.namespace),
                "GET",
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
            )
        except kubernetes.ApiException as error:
            if error.status in (400, 404):  # 400: the log of a container that has not begun
                return None
            raise
        return answer.data.decode() if text else json.loads(answer.data)

    def all(self, kind: str) -> list[JSON]:
        """All objects of a kind, oldest first."""
        found = self.read(PATHS[kind]) or {"items": []}
        return sorted(found["items"], key=lambda each: each["metadata"].get("creationTimestamp", ""))

    def one(self, kind: str, name: str) -> JSON | None:
        """An object; None when absent."""
        return cast("JSON | None", self.read(f"{PATHS[kind]}/{name}"))

    def pods(self) -> dict[str, list[JSON]]:
        """Pods by their stable names: a Job's pods end with something random, and have their host's name instead."""
        found: dict[str, list[JSON]] = {}
        for pod in self.all("pod"):
            found.setdefault(stable_name(pod), []).append(pod)
        return found

    def log(self, pod: JSON) -> str:
        """What the pod's first container has written."""
        container = pod["spec"]["containers"][0]["name"]
        path = f"{PATHS['pod']}/{pod['metadata']['name']}/log?container={container}"
        return self.read(path, text=True) or ""


def stable_name(pod: JSON) -> str:
    """The pod's own name, or what it is called whatever its random end is."""
    meta = pod["metadata"]
    return str(pod["spec"].get("hostname") or meta.get("labels", {}).get(JOB_NAME) or meta["name"])


def differences(world: World, expected: Mapping[str, Any]) -> list[str]:
    """Where the world is not as expected; nothing when it is."""
    found: list[str] = []
    for what, wanted in expected.items():
        match what:
            case "pods":
                found += _pods(world.pods(), wanted)
            case "services":
                names = sorted(each["metadata"]["name"] for each in world.all("service"))
                found += _held("services", [name for name in names if name != OWN_SERVICE], sorted(wanted))
            case "logs":
                found += _logs(world, wanted)
            case "events":
                found += _events(world.all("event"), wanted)
            case _:
                kind, _, name = what.partition("/")
                found += _object(what, world.one(kind, name), wanted)
    return found


def _object(what: str, actual: JSON | None, wanted: Any) -> list[str]:
    if actual is None or wanted is None:
        there = "is not there" if actual is None else "is still there"
        return [] if actual is None and wanted is None else [f"{what}: {there}"]
    wanted = dict(wanted)
    found: list[str] = []
    if "conditions" in wanted:
        held = actual.get("status", {}).get("conditions", [])
        found += _conditions(f"{what} conditions", held, wanted.pop("conditions"))
    return found + _held(what, actual, wanted)


def _conditions(where: str, held: list[JSON], wanted: list[str]) -> list[str]:
    """Types in their order, each ``Type``, ``Type=False`` or ``Type: Reason``, nothing beside them; ``?Type`` may be
    missing, as Running is of what has ended before anyone looked."""
    told = [f"{each['type']}={each['status']}: {each.get('reason', '')}" for each in held]
    rest = list(wanted)
    for each in told:
        while rest and rest[0].startswith(MAYBE) and not _says(each, rest[0].removeprefix(MAYBE)):
            rest.pop(0)
        if not rest or not _says(each, rest.pop(0).removeprefix(MAYBE)):
            return [f"{where}: {told}, wanted {wanted}"]
    missing = [each for each in rest if not each.startswith(MAYBE)]
    return [f"{where}: {told}, wanted {wanted}"] if missing else []


def _says(told: str, wanted: str) -> bool:
    type_, _, reason = wanted.partition(": ")
    beginning = (type_ if "=" in type_ else f"{type_}=True") + ": "
    return told == beginning + reason if reason else told.startswith(beginning)


def _pods(actual: Mapping[str, list[JSON]], wanted: Mapping[str, Any]) -> list[str]:
    """Exactly these; each a phase, a list of phases (pods that followed each other), or fields."""
    phases = {name: [str(each["status"].get("phase")) for each in pods] for name, pods in actual.items()}
    if set(actual) != set(wanted):
        return [f"pods: {phases}, wanted {dict(wanted)}"]
    found: list[str] = []
    for name, each in wanted.items():
        if isinstance(each, Mapping):
            found += _held(f"pods.{name}", actual[name][-1], each)
        else:
            found += _held(f"pods.{name}", sorted(phases[name]), sorted(each) if isinstance(each, list) else [each])
    return found


def _logs(world: World, wanted: Mapping[str, list[Any]]) -> Iterator[str]:
    pods = world.pods()
    for name, lines in wanted.items():
        text = "".join(map(world.log, pods.get(name, [])))
        there = text.splitlines()
        for line in map(str, lines):
            is_there = line[1:] in text if line.startswith(CONTAINS) else line in there
            if not is_there:
                yield f"logs.{name}: no {line!r} in {text[-2000:]!r}"


def _events(told: list[JSON], wanted: list[str]) -> Iterator[str]:
    """Each is ``Kind/name Reason``, with words of its message after a colon."""
    known = [
        (f"{each['involvedObject']['kind']}/{each['involvedObject']['name']} {each['reason']}", each["message"])
        for each in told
    ]
    for each in wanted:
        head, _, words = each.partition(": ")
        if not any(_is_of(told_head, head) and words in message for told_head, message in known):
            yield f"events: no {each!r} among {known}"


def _is_of(told: str, wanted: str) -> bool:
    """``Pod/name-* Reason`` speaks of any pod whose name begins so."""
    beginning, star, end = wanted.partition("*")
    return told.startswith(beginning) and told.endswith(end) if star else told == wanted


def _held(where: str, actual: Any, wanted: Any) -> list[str]:
    """Fields that are named must be as they are named; None: must not be there, nor hold anything."""
    if isinstance(wanted, Mapping):
        fields = cast("Mapping[str, Any]", wanted)
        there: Mapping[str, Any] = actual if isinstance(actual, Mapping) else {}
        return [each for name, value in fields.items() for each in _held(f"{where}.{name}", there.get(name), value)]
    if isinstance(wanted, list) and isinstance(actual, list) and len(wanted) == len(actual):
        pairs: Iterable[tuple[Any, Any]] = zip(actual, wanted, strict=True)
        return [each for index, (one, other) in enumerate(pairs) for each in _held(f"{where}[{index}]", one, other)]
    if wanted is None:
        return [f"{where}: {actual!r}, wanted nothing"] if actual else []
    if isinstance(wanted, str) and wanted.startswith(CONTAINS):
        return [] if wanted[1:] in str(actual) else [f"{where}: {actual!r} without {wanted[1:]!r}"]
    return [] if actual == wanted else [f"{where}: {actual!r}, wanted {wanted!r}"]
