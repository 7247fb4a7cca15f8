"""What the official clients say of a run that has ended."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import kfp_server_api


@dataclass(frozen=True)
class SeenTask:
    """One task as the API has it."""

    path: str
    message: Mapping[str, Any]

    @property
    def state(self) -> str:
        return self.message.get("state", "")

    @property
    def error(self) -> str:
        return self.message.get("status_metadata", {}).get("message", "")

    def parameters(self, side: str = "outputs") -> dict[str, Any]:
        items = self.message.get(side, {}).get("parameters", [])
        return {each["parameter_key"]: each.get("value") for each in items}

    def artifacts(self, side: str = "outputs") -> dict[str, list[Mapping[str, Any]]]:
        items = self.message.get(side, {}).get("artifacts", [])
        return {each["artifact_key"]: each.get("artifacts", []) for each in items}


@dataclass(frozen=True)
class Seen:
    """A run, and its tasks by their way from the root."""

    run: kfp_server_api.V2beta1Run
    tasks: Mapping[str, SeenTask]
    logs: Mapping[str, str] = field(default_factory=dict[str, str])

    def state(self, path: str) -> str:
        return self.tasks[path].state if path in self.tasks else "ABSENT"

    def error(self, path: str) -> str:
        return self.tasks[path].error if path in self.tasks else ""

    def output(self, name: str) -> Any:
        """The value of an output parameter: ``task.key``."""
        path, _, key = name.rpartition(".")
        return self.tasks[path].parameters().get(key, "NO VALUE") if path in self.tasks else "NO TASK"

    def artifacts(self, name: str) -> list[Mapping[str, Any]]:
        """The artifacts of an output: ``task.key``."""
        path, _, key = name.rpartition(".")
        return self.tasks[path].artifacts().get(key, []) if path in self.tasks else []

    def described(self, name: str) -> Any:
        """Type and metadata of an output's artifact, or a list of these where there is not exactly one."""
        found = [(each.get("type"), dict(each.get("metadata") or {})) for each in self.artifacts(name)]
        return found[0] if len(found) == 1 else found

    def below(self, path: str) -> list[str]:
        """The tasks below ``path``."""
        return sorted(each for each in self.tasks if each.startswith(f"{path}/"))

    def states(self) -> dict[str, str]:
        """All tasks but the root."""
        return {path: task.state for path, task in self.tasks.items() if path != "root"}

    def story(self) -> str:
        """All of it, for who has to find out why a test failed."""
        lines = [f"run {self.run.run_id} {self.run.display_name}: {self.run.state} {self.run.error or ''}"]
        for path, task in sorted(self.tasks.items()):
            values = json.dumps(task.parameters())[:300]
            kinds = {key: [each.get("type") for each in several] for key, several in task.artifacts().items()}
            lines.append(f"  {path}: {task.state} {values} {kinds or ''} {task.error[:600]}")
        return "\n".join(lines)


def paths(tasks: list[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every task with its way from the root: display names, and numbers for the iterations of a loop."""
    known = {each["task_id"]: each for each in tasks}

    def way(task: Mapping[str, Any]) -> list[str]:
        parent = known.get(task.get("parent_task_id", ""))
        if parent is None:
            return []
        index = task.get("type_attributes", {}).get("iteration_index")
        iteration = index is not None or parent.get("type_attributes", {}).get("iteration_count") is not None
        return [*way(parent), str(int(index or 0)) if iteration else task["name"]]

    for each in tasks:
        yield "/".join(way(each)) or "root", each
