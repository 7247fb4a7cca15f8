"""What a DAG's shape says before anything runs: who waits for whom. Made once per component."""

from collections.abc import Mapping

import msgspec

from ketch.pipelines.ir.reading import dependencies
from ketch.pipelines.ir.spec import ALL_UPSTREAM_TASKS_COMPLETED, DagSpec


class Plan(msgspec.Struct, frozen=True):
    """``waits`` counts each task's upstreams, ``dependents`` lists who waits for it.

    ``regardless`` are the tasks that start once all upstreams have ended, well or not (exit handlers,
    ``ignore_upstream_failure``); ``tolerant`` adds everything downstream of them: these may still start after a sibling
    failed, all others may not.
    """

    waits: Mapping[str, int]
    dependents: Mapping[str, tuple[str, ...]]
    regardless: frozenset[str]
    tolerant: frozenset[str]


def plan(dag: DagSpec) -> Plan:
    """The plan of an acyclic DAG; linear in its tasks and edges."""
    waits: dict[str, int] = {}
    dependents: dict[str, list[str]] = {name: [] for name in dag.tasks}
    for name, task in dag.tasks.items():
        needed = dependencies(task)
        waits[name] = len(needed)
        for each in needed:
            dependents[each].append(name)
    regardless = frozenset(
        name for name, task in dag.tasks.items() if task.trigger_policy.strategy == ALL_UPSTREAM_TASKS_COMPLETED
    )
    tolerant = set(regardless)
    pending = list(regardless)
    while pending:
        for name in dependents[pending.pop()]:
            if name not in tolerant:
                tolerant.add(name)
                pending.append(name)
    order = {name: tuple(following) for name, following in dependents.items()}
    return Plan(waits, order, regardless, frozenset(tolerant))
