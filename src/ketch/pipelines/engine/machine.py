"""The machine: events about a run in, orders out.

Inside a DAG a task is considered once all its upstreams are decided; after a failure nothing new starts there, except
what is declared to run regardless, and what is in flight ends by itself. A run has failed if any of its tasks has.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from ketch.pipelines.engine.importing import imported
from ketch.pipelines.engine.inputs import (
    InputProblem,
    artifacts_json,
    dag_outputs,
    item_alone,
    loop_items,
    loop_outputs,
    named_value,
    root_inputs,
    task_inputs,
)
from ketch.pipelines.engine.nodes import Iterations, Node
from ketch.pipelines.engine.orders import (
    Begin,
    Cancel,
    Create,
    Event,
    Failed,
    Finish,
    FinishRun,
    Import,
    Launch,
    Order,
    Retry,
    RunFacts,
    Stop,
    Succeeded,
    TaskFacts,
)
from ketch.pipelines.engine.reopening import STEPS, reopen
from ketch.pipelines.engine.tree import Tree, omit_after_failure, release
from ketch.pipelines.ir.expressions import ExpressionError, evaluate
from ketch.pipelines.ir.reading import seconds
from ketch.pipelines.ir.spec import ParameterInput, PipelineSpec, RetryPolicy, claim_operation
from ketch.pipelines.records.states import (
    CANCELED,
    CONTAINER,
    DAG,
    FAILED,
    PENDING,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
)
from ketch.pipelines.steps.placeholders import Names
from ketch.pipelines.values import NOTHING, Values

_MAX_DURATION = 3600.0
_LAST_DOUBLING = 64  # beyond it every factor means "never"


class Machine:
    """One run. ``in_flight`` are the tasks whose step runs or is about to, by id."""

    def __init__(self, spec: PipelineSpec, run: RunFacts, tasks: Iterable[TaskFacts] = ()) -> None:
        self.spec, self.run = spec, run
        self.in_flight: dict[str, Node] = {}
        self._tree = Tree(spec, run.run_id, run.generation)
        self._orders: list[Order] = []
        self._ended: deque[Node] = deque()
        self._tree.restore(tasks)
        self._take_stock()

    def handle(self, event: Event) -> list[Order]:
        """What is to be done about ``event``. An event about a task that has ended already changes nothing."""
        self._orders = []
        match event:
            case Begin():
                self._begin()
            case Succeeded():
                if node := self.in_flight.get(event.task_id):
                    self._finish(node, event.state, event.outputs)
            case Failed():
                if node := self.in_flight.get(event.task_id):
                    self._step_failed(node, event)
            case Cancel():
                self._cancel(event.reason)
            case Retry():
                self._retry()
        while self._ended:
            self._child_ended(self._ended.popleft())
        return self._orders

    def node(self, identity: str) -> Node:
        """The task of that id; KeyError when the run has none."""
        return self._tree.nodes[identity]

    def names(self, node: Node) -> Names:
        """What ``{{$.pipeline_...}}`` means inside a task."""
        return msgspec.structs.replace(self.run.names, pipeline_task_name=node.name, pipeline_task_uuid=node.id)

    def _take_stock(self) -> None:
        steps = (node for node in self._tree.nodes.values() if node.kind in STEPS)
        self.in_flight = {node.id: node for node in steps if not node.ended}

    def imported(self, node: Node) -> Import:
        """What an importer imports. Raises InputProblem."""
        importer = self.spec.executor(node.component).importer
        if importer is None:
            raise InputProblem(f"task {node.path} imports nothing")
        return imported(node, importer, self.names(node))

    def value(self, node: Node, source: ParameterInput) -> Any:
        """The value of an input that a task's platform settings name, UNSET if there is none. Raises InputProblem."""
        return named_value(source, node, self.names(node))

    # Starting

    def _begin(self) -> None:
        if self._tree.root is not None:
            self._resume()
            return
        root = self._tree.add_root()
        try:
            root.inputs = root_inputs(root.component, self.run.parameters)
        except InputProblem as problem:
            self._create_ended(root, FAILED, str(problem))
            return
        self._open_dag(root)

    def _resume(self) -> None:
        for node in list(self._tree.nodes.values()):
            if not node.ended:
                self._go_on(node)

    def _go_on(self, node: Node) -> None:
        if node.kind in STEPS:
            self.in_flight[node.id] = node
            self._order_step(node)
        elif node.scope:
            self._advance(node)
        elif node.iterations:
            self._fill_loop(node)

    def _advance(self, node: Node) -> None:
        """Consider what waits for nothing in a DAG; end it when nothing is left."""
        scope = node.scope
        if scope:
            for name in [name for name in scope.undecided if scope.waiting[name] == 0]:
                self._consider(node, name)
            self._maybe_end(node)

    def _consider(self, parent: Node, name: str) -> None:
        """All upstreams of a task are decided: start it, skip it, or leave it out."""
        scope = parent.scope
        if scope is None or name not in scope.undecided:
            return
        node, spec = self._tree.add_child(parent, name)
        scope.active += 1
        if name in scope.blocked and name not in scope.plan.regardless:
            self._create_ended(node, SKIPPED)
            return
        try:
            node.inputs = task_inputs(spec, node.component, parent, self.names(node))
            condition = spec.trigger_policy.condition
            if condition and not evaluate(condition, node.inputs.parameters, artifacts_json(node.inputs)):
                self._create_ended(node, SKIPPED)
                return
            items = loop_items(spec, node.inputs)
        except (InputProblem, ExpressionError) as problem:
            self._create_ended(node, FAILED, str(problem))
            return
        if items is None:
            self._start(node)
            return
        node.iterations = Iterations(items, spec.iterator_policy.parallelism_limit)
        self._create(node, RUNNING)
        self._fill_loop(node)

    def _start(self, node: Node) -> None:
        if node.kind == DAG:
            self._open_dag(node)
            return
        self._create(node, PENDING)
        self.in_flight[node.id] = node
        self._order_step(node)

    def _open_dag(self, node: Node) -> None:
        self._tree.open(node)
        self._create(node, RUNNING)
        self._advance(node)

    def _fill_loop(self, loop: Node) -> None:
        """Start iterations up to the limit; after a failed one, no more."""
        inside = loop.iterations
        if inside is None:
            return
        while len(inside.children) < len(inside.items) and not inside.failed:
            if inside.limit and inside.active >= inside.limit:
                break
            inside.active += 1
            self._start(self._tree.add_iteration(loop, len(inside.children)))
        self._maybe_end(loop)

    def _order_step(self, node: Node) -> None:
        executor = self.spec.executor(node.component)
        if executor.importer is None or executor.importer.download_to_workspace:
            self._launch(node)
            return
        try:
            self._orders.append(self.imported(node))
        except InputProblem as problem:
            self._fail(node, str(problem))

    def _launch(self, node: Node, delay: float = 0.0, error: str = "") -> None:
        in_pod = claim_operation(self.spec.executor(node.component)) == ""
        node.launched = in_pod
        self._orders.append(Launch(task_id=node.id, attempt=node.attempt, delay=delay, error=error, in_pod=in_pod))

    def _create(self, node: Node, state: str) -> None:
        node.state = state
        inside, inputs = node.iterations, node.inputs
        if node.iteration is not None and node.spec and node.parent and node.parent.iterations:
            inputs = item_alone(node.spec, node.parent.iterations.items[node.iteration])
        order = Create(
            id=node.id,
            path=node.path,
            name=node.name,
            display_name=node.display_name,
            kind=node.kind,
            state=state,
            parent_id=node.parent.id if node.parent else None,
            iteration=node.iteration,
            iteration_count=len(inside.items) if inside else None,
            inputs=inputs,
            error=node.error,
        )
        self._orders.append(order)

    def _create_ended(self, node: Node, state: str, error: str = "") -> None:
        node.error = error
        self._create(node, state)
        self._ended.append(node)

    # Ending

    def _step_failed(self, node: Node, event: Failed) -> None:
        if _may_try_again(node, event.elapsed):
            delay = _delay(node)
            node.attempt += 1
            self._launch(node, delay, event.error or "the step failed")
        else:
            self._fail(node, event.error)

    def _fail(self, node: Node, error: str) -> None:
        node.error = error
        self._finish(node, FAILED, NOTHING)

    def _finish(self, node: Node, state: str, outputs: Values) -> None:
        node.state, node.outputs = state, outputs
        self.in_flight.pop(node.id, None)
        self._orders.append(Finish(task_id=node.id, state=state, outputs=outputs, error=node.error))
        self._ended.append(node)

    def _child_ended(self, node: Node) -> None:
        """Tell the parent; it may start others or end itself."""
        parent = node.parent
        if parent is None:
            self._orders.append(FinishRun(node.state, node.error))
            return
        parent.below.add(node.failures)
        if parent.iterations:
            parent.iterations.active -= 1
            parent.iterations.failed = parent.iterations.failed or node.state == FAILED
            self._fill_loop(parent)
        elif parent.scope:
            scope = parent.scope
            scope.active -= 1
            ready = release(scope, node.name, well=node.well)
            if node.state == FAILED and not scope.failed:
                scope.failed = True
                ready += omit_after_failure(scope)
            for name in ready:
                self._consider(parent, name)
            self._maybe_end(parent)

    def _maybe_end(self, node: Node) -> None:
        if node.ended:
            return
        if node.iterations:
            inside = node.iterations
            if inside.active == 0 and (inside.failed or len(inside.children) == len(inside.items)):
                self._end(node, failed=inside.failed)
        elif node.scope and node.scope.active == 0 and not node.scope.undecided:
            self._end(node, failed=node.scope.failed)

    def _end(self, node: Node, *, failed: bool) -> None:
        if failed and node.kind == DAG and _may_try_again(node, 0.0):
            self._try_dag_again(node)
        elif failed:
            self._fail(node, str(node.below))
        else:
            self._finish(node, SUCCEEDED, loop_outputs(node) if node.iterations else dag_outputs(node))

    # The user's word

    def _cancel(self, reason: str) -> None:
        for node in self._tree.nodes.values():
            if node.ended:
                continue
            if node.kind in STEPS:
                self._orders.append(Stop(node.id))
            node.state = CANCELED
            self._orders.append(Finish(task_id=node.id, state=CANCELED, error=reason))
        self.in_flight.clear()
        self._orders.append(FinishRun(FAILED, reason))

    def _retry(self) -> None:
        root = self._tree.root
        if root is not None:
            orders, _ = reopen(self._tree, root)
            self._orders += orders
        self._begin()

    def _try_dag_again(self, node: Node) -> None:
        """As when the user retries a run, but here the policy does, and the steps wait for it."""
        why, delay = str(node.below), _delay(node)
        node.attempt += 1
        orders, opened = reopen(self._tree, node)
        self._orders += orders
        for each in opened:
            if each.kind == CONTAINER:
                self.in_flight[each.id] = each
                self._launch(each, delay, why)
            else:
                self._go_on(each)


def _delay(node: Node) -> float:
    """Seconds until the attempt after this one."""
    policy = node.spec.retry_policy if node.spec else RetryPolicy()
    factor = policy.backoff_factor or 1.0
    return seconds(policy.backoff_duration) * factor ** min(node.attempt, _LAST_DOUBLING)


def _may_try_again(node: Node, elapsed: float) -> bool:
    """Whether the policy allows another attempt, ``elapsed`` seconds after the first was ordered."""
    policy = node.spec.retry_policy if node.spec else RetryPolicy()
    if node.attempt >= policy.max_retry_count:
        return False
    most = seconds(policy.backoff_max_duration) or _MAX_DURATION
    return elapsed + _delay(node) <= most
