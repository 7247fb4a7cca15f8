"""A run's steps as this command line speaks of them, read from what the API says of tasks. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

PENDING, RUNNING, SUCCEEDED, CACHED = "PENDING", "RUNNING", "SUCCEEDED", "CACHED"
FAILED, SKIPPED, CANCELED = "FAILED", "SKIPPED", "CANCELED"
ENDED: Final = frozenset({SUCCEEDED, CACHED, FAILED, SKIPPED, CANCELED})
LOOP: Final = "LOOP"

_CANCELING: Final = "CANCELING"
_UNSET_TIME: Final = "1970"
_EXCEPTION = re.compile(
    r"^[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Warning|Timeout|Expired)\b.*$", re.MULTILINE
)
_URGENCY: Final = (FAILED, CANCELED, RUNNING, _CANCELING, PENDING, SUCCEEDED, CACHED, SKIPPED)
"""What is shown first where not everything can be."""


@dataclass(frozen=True, slots=True)
class Step:
    """One task of a run, with the tasks below it.

    ``path`` is unique in the run: "for-loop-1/[3]/train". ``pods`` are those of all attempts, oldest first.
    ``iterations`` is how many a loop has, as far as that is known; ``number`` is which of them this one is.
    """

    id: str
    name: str
    path: str
    kind: str
    state: str
    created: str
    began: datetime | None
    ended: datetime | None
    error: str
    pods: tuple[str, ...] = ()
    number: int | None = None
    iterations: int | None = None
    below: tuple["Step", ...] = ()

    @property
    def attempts(self) -> int:
        """How often it was begun."""
        return len(self.pods)

    @property
    def reason(self) -> str:
        """Its error in one line."""
        return in_one_line(self.error)

    def every(self) -> Iterator["Step"]:
        """This step and all below it."""
        yield self
        for step in self.below:
            yield from step.every()

    @property
    def urgency(self) -> int:
        """The lower, the more it deserves to be seen."""
        return _URGENCY.index(self.state) if self.state in _URGENCY else len(_URGENCY)


def steps_of(run: Mapping[str, Any], natives: Mapping[str, Mapping[str, Any]]) -> tuple[Step, ...]:
    """The steps of a run below its root, in the order in which they came to be.

    ``natives`` are the tasks by id as the native API knows them; what is not there is told as well as it can be.
    """
    tasks = sorted(task_details(run), key=lambda task: task.get("create_time", ""))
    known = {task.get("task_id", "") for task in tasks}
    children: dict[str, list[Mapping[str, Any]]] = {}
    for task in tasks:
        parent = task.get("parent_task_id", "")
        children.setdefault(parent if parent in known else "", []).append(task)
    top = children.get("", [])
    if len(top) == 1 and top[0].get("task_id", "") in children:  # the root says what the run says
        top = children[top[0]["task_id"]]
    return tuple(_steps(top, children, natives, ""))


def task_details(run: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The run's tasks as the API gives them."""
    return run.get("run_details", {}).get("task_details", [])


def every_step(steps: Iterable[Step]) -> Iterator[Step]:
    """All of them, parents before children."""
    for step in steps:
        yield from step.every()


def worked(steps: Iterable[Step]) -> Iterator[Step]:
    """Those that do something themselves: the leaves."""
    return (step for step in every_step(steps) if not step.below and step.kind not in ("DAG", LOOP))


def failures(steps: Iterable[Step]) -> Sequence[Step]:
    """The steps that failed by themselves, first failures first."""
    found = [step for step in worked(steps) if step.state == FAILED]
    if not found:
        found = [s for s in every_step(steps) if s.state == FAILED and not any(b.state == FAILED for b in s.below)]
    return sorted(found, key=lambda step: (step.ended is None, step.ended, step.path))


def counts(steps: Iterable[Step]) -> str:
    """``"3 succeeded, 1 failed"``."""
    number = Counter(step.state for step in steps)
    words = [f"{number[state]} {state.lower()}" for state in _URGENCY[::-1] if number[state]]
    return ", ".join(words)


def in_one_line(error: str) -> str:
    """What an error comes to: the exception, where there is one in it."""
    exceptions = _EXCEPTION.findall(error)
    return exceptions[-1] if exceptions else error.partition("\n")[0].removesuffix(":")


def span_of(run: Mapping[str, Any]) -> tuple[datetime | None, datetime | None]:
    """When the run began and ended: its root task knows it to the millisecond."""
    for task in task_details(run):
        if not task.get("parent_task_id") and task.get("child_tasks"):
            return moment(task.get("start_time")), moment(task.get("end_time"))
    return moment(run.get("created_at")), moment(run.get("finished_at"))


def part(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object within an object; an empty one where there is none."""
    return item.get(name) or {}


def moment(text: str | None) -> datetime | None:
    """A time of the API's; None where it says that there is none."""
    return None if not text or text.startswith(_UNSET_TIME) else datetime.fromisoformat(text)


def message_of(item: Mapping[str, Any]) -> str:
    """The error of a run or a task."""
    return str(part(item, "error").get("message", "")).strip()


def _steps(
    tasks: Sequence[Mapping[str, Any]],
    children: Mapping[str, Sequence[Mapping[str, Any]]],
    natives: Mapping[str, Mapping[str, Any]],
    above: str,
) -> Iterator[Step]:
    taken = Counter[str]()
    found: list[Step] = []
    for position, task in enumerate(tasks):
        step = _step(task, natives.get(task.get("task_id", ""), {}), above, position)
        taken[step.path] += 1
        if taken[step.path] > 1:
            step = replace(step, path=f"{step.path}#{taken[step.path]}")
        below = tuple(_steps(children.get(step.id, ()), children, natives, step.path))
        found.append(replace(step, below=below))
    if found and all(step.number is not None for step in found):
        found.sort(key=lambda step: step.number or 0)
    yield from found


def _step(task: Mapping[str, Any], native: Mapping[str, Any], above: str, position: int) -> Step:
    attributes = part(native, "type_attributes")
    name = str(task.get("display_name") or native.get("name", ""))
    number = _integer(attributes.get("iteration_index"))
    if number is None and above and name == above.rpartition("/")[2]:
        number = position  # a loop's iterations carry the loop's name
    name = name if number is None else f"[{number}]"
    pods = part(task, "executor_detail")
    names: list[str] = [*pods.get("failed_main_jobs", ()), task.get("pod_name") or pods.get("main_job", "")]
    step = Step(
        id=str(task.get("task_id", "")),
        name=name,
        path=f"{above}/{name}" if above else name,
        kind=str(native.get("type", "")),
        state=str(task.get("state") or PENDING),
        created=str(task.get("create_time", "")),
        began=moment(task.get("start_time")),
        ended=moment(task.get("end_time")),
        error=message_of(task),
        pods=tuple(dict.fromkeys(str(pod) for pod in names if pod)),
        number=number,
        iterations=_integer(attributes.get("iteration_count")),
    )
    return replace(step, state=CACHED) if _was_cached(step, native, task) else step


def _was_cached(step: Step, native: Mapping[str, Any], task: Mapping[str, Any]) -> bool:
    if step.state != SUCCEEDED:
        return False
    if native.get("state"):
        return native["state"] == CACHED
    return not (step.began or step.pods or task.get("child_tasks"))


def _integer(text: Any) -> int | None:
    return int(text) if str(text or "").isdecimal() else None
