"""A run as JSON: what ``-o json`` prints. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ketch.cli.runs.steps import Step, message_of, part, span_of


def as_json(
    run: Mapping[str, Any], steps: Sequence[Step], natives: Mapping[str, Mapping[str, Any]] | None = None
) -> Mapping[str, Any]:
    """The run with its steps as a tree; with the steps' values where ``natives`` tell them."""
    began, ended = span_of(run)
    return {
        "run_id": run.get("run_id", ""),
        "name": run.get("display_name", ""),
        "experiment_id": run.get("experiment_id", ""),
        "state": run.get("state", ""),
        "error": message_of(run),
        "created_at": run.get("created_at", ""),
        "started_at": _time(began),
        "finished_at": _time(ended),
        "parameters": part(part(run, "runtime_config"), "parameters"),
        "steps": [_step(step, natives or {}) for step in steps],
    }


def values_of(native: Mapping[str, Any], side: str) -> Iterator[tuple[str, Any, Sequence[Mapping[str, Any]]]]:
    """A task's ``inputs`` or ``outputs``: name, value, artifacts (one of both)."""
    values = part(native, side)
    for item in values.get("parameters", ()):
        yield item.get("parameter_key", ""), item.get("value"), ()
    for item in values.get("artifacts", ()):
        yield item.get("artifact_key", ""), None, item.get("artifacts", ())


def _step(step: Step, natives: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    document: dict[str, Any] = {
        "task_id": step.id,
        "path": step.path,
        "kind": step.kind,
        "state": step.state,
        "started_at": _time(step.began),
        "finished_at": _time(step.ended),
        "attempts": step.attempts,
        "pods": list(step.pods),
        "error": step.error,
    }
    native = natives.get(step.id)
    if native is not None:
        for side in ("inputs", "outputs"):
            document[side] = {
                name: [dict(artifact) for artifact in artifacts] if artifacts else value
                for name, value, artifacts in values_of(native, side)
            }
    if step.below:
        document["steps"] = [_step(below, natives) for below in step.below]
    return document


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
