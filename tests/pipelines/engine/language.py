"""A small language for the machine's tests: it makes specifications, and tells of orders in words."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ketch.pipelines.engine.machine import Machine
from ketch.pipelines.engine.orders import (
    Begin,
    Create,
    Event,
    Failed,
    Finish,
    FinishRun,
    Forget,
    Import,
    Launch,
    Order,
    Reopen,
    Retry,
    RunFacts,
    Stop,
    Succeeded,
    TaskFacts,
)
from ketch.pipelines.engine.tree import task_id
from ketch.pipelines.ir.reading import read
from ketch.pipelines.steps.placeholders import Names
from ketch.pipelines.values import Values

Tasks = Mapping[str, Mapping[str, Any]]
STEP = {
    "executorLabel": "e",
    "inputDefinitions": {"parameters": {"a": {"parameterType": "NUMBER_INTEGER", "isOptional": True}}},
    "outputDefinitions": {"parameters": {"x": {"parameterType": "NUMBER_INTEGER"}}},
}
IMPORT = {"executorLabel": "i", "inputDefinitions": {"parameters": {"uri": {"parameterType": "STRING"}}}}


def step(component: str = "step", **fields: Any) -> dict[str, Any]:
    return {"componentRef": {"name": component}, **fields}


def after(*names: str, **fields: Any) -> dict[str, Any]:
    return step(dependentTasks=list(names), **fields)


def output(task: str, key: str = "x") -> dict[str, Any]:
    return {"taskOutputParameter": {"producerTask": task, "outputParameterKey": key}}


def given(**sources: Any) -> dict[str, Any]:
    return {"parameters": sources}


REGARDLESS = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


def a_spec(
    tasks: Tasks,
    root: Mapping[str, Any] | None = None,
    outputs: Any = None,
    executors: Mapping[str, Any] | None = None,
    **components: Any,
) -> Any:
    dag = {"tasks": tasks, **({"outputs": outputs} if outputs else {})}
    document = {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "p"},
        "deploymentSpec": {
            "executors": {
                "e": {"container": {"image": "i"}},
                "i": {"importer": {"artifactUri": {"runtimeParameter": "uri"}, "metadata": {"n": 1.0}}},
                **(executors or {}),
            }
        },
        "components": {"step": STEP, "import": IMPORT, **components},
        "root": {"dag": dag, **(root or {})},
    }
    return read(document)


class Driver:
    """A machine, its tasks' states as the orders have left them, and words for both."""

    def __init__(self, spec: Any, parameters: Mapping[str, Any] | None = None) -> None:
        self.spec, self.facts = spec, RunFacts(run_id="r", parameters=parameters or {}, names=Names())
        self.machine = Machine(spec, self.facts)
        self.rows: dict[str, TaskFacts] = {}
        self.ids: dict[str, str] = {}
        self.run = ""
        self.error = ""

    def handle(self, event: Event) -> list[str]:
        return [word for word in map(self.take, self.machine.handle(event)) if word]

    def begin(self) -> list[str]:
        return self.handle(Begin())

    def well(self, path: str, **outputs: Any) -> list[str]:
        return self.handle(Succeeded(self.identity(path), Values(outputs or {"x": 1})))

    def badly(self, path: str, error: str = "boom", elapsed: float = 0.0) -> list[str]:
        return self.handle(Failed(self.identity(path), error, elapsed))

    def identity(self, path: str) -> str:
        whole = f"root/{path}" if path else "root"
        return self.ids.get(whole, task_id("r", whole))

    def retry(self) -> list[str]:
        """As the user does it: the run is taken up from its rows, in its next generation."""
        self.facts = msgspec.structs.replace(self.facts, generation=self.facts.generation + 1)
        self.restart()
        return self.handle(Retry())

    def restart(self) -> None:
        """Only the rows survive."""
        self.machine = Machine(self.spec, self.facts, reversed(list(self.rows.values())))

    def path(self, identity: str) -> str:
        return self.rows[identity].path.removeprefix("root/")

    def state(self, path: str) -> str:
        return self.rows[self.identity(path)].state

    def row(self, path: str) -> TaskFacts:
        return self.rows[self.identity(path)]

    def change(self, identity: str, **fields: Any) -> None:
        self.rows[identity] = msgspec.structs.replace(self.rows[identity], **fields)

    def take(self, order: Order) -> str:
        match order:
            case Create():
                assert order.id not in self.rows
                self.ids[order.path] = order.id
                assert order.parent_id is None or order.parent_id in self.rows
                self.rows[order.id] = TaskFacts(
                    id=order.id,
                    path=order.path,
                    state=order.state,
                    inputs=order.inputs,
                    error=order.error,
                    iteration_count=order.iteration_count,
                )
                return f"{order.state.lower()} {self.path(order.id)}" if order.state in ("SKIPPED", "FAILED") else ""
            case Launch():
                self.change(order.task_id, attempt=order.attempt, launched=order.in_pod)
                if not order.in_pod:
                    return f"do {self.path(order.task_id)}"
                again = f" again after {order.delay:g} s" if order.error else ""
                return f"launch {self.path(order.task_id)}{again}"
            case Finish():
                self.change(order.task_id, state=order.state, outputs=order.outputs, error=order.error)
                return ""
            case FinishRun():
                self.run, self.error = order.state, order.error
                return f"end {order.state}"
            case Reopen():
                self.change(order.task_id, state=order.state, attempt=order.attempt, error="", outputs=Values())
                return ""
            case Forget():
                del self.rows[order.task_id]
                return ""
            case Stop():
                return f"stop {self.path(order.task_id)}"
            case Import():
                return f"import {order.uri} {dict(order.metadata)}"


def condition(task: str, value: int) -> dict[str, Any]:
    return {"condition": f"int(inputs.parameter_values['v']) == {value}"}


def a_loop(items: Any, limit: int = 0, **fields: Any) -> dict[str, Any]:
    return step(
        "body",
        parameterIterator={"itemInput": "item", "items": items},
        iteratorPolicy={"parallelismLimit": limit},
        **fields,
    )


BODY = {
    "dag": {
        "tasks": {"w": step(inputs=given(a={"componentInputParameter": "item"}))},
        "outputs": {"parameters": {"o": {"valueFromParameter": {"producerSubtask": "w", "outputParameterKey": "x"}}}},
    },
    "inputDefinitions": {"parameters": {"item": {"parameterType": "NUMBER_INTEGER"}}},
    "outputDefinitions": {"parameters": {"o": {"parameterType": "LIST"}}},
}
COLLECT = {"executorLabel": "e", "inputDefinitions": {"parameters": {"l": {"parameterType": "LIST"}}}}
