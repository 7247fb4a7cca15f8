"""The machine: events about a run in, orders out.

Inside a DAG a task is considered once all its upstreams are decided; after a failure nothing new starts there, except
what is declared to run regardless, and what is in flight ends by itself. A run has failed if any of its tasks has.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from ketch.pipelines.engine.inputs import (
    InputProblem,
    dag_outputs,
    item_alone,
    loop_items,
    loop_outputs,
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
from ketch.pipelines.engine.tree import Tree, omit_after_failure, release
from ketch.pipelines.ir.expressions import ExpressionError, evaluate
from ketch.pipelines.ir.reading import seconds
from ketch.pipelines.ir.spec import ImporterSpec, PipelineSpec, RetryPolicy
from ketch.pipelines.placeholders import Names, PlaceholderError, Scope, expand, expand_text
from ketch.pipelines.states import (
    CANCELED,
    CONTAINER,
    DAG,
    FAILED,
    IMPORTER,
    PENDING,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
)
from ketch.pipelines.values import NOTHING, Values, plain, to_text

IMPORTED = "artifact"
"""The output under which an importer's artifact is known."""

CANCEL_MESSAGE = "the run was terminated"

_STEPS = (CONTAINER, IMPORTER)
_MAX_BACKOFF = 3600.0


class Machine:
    """One run. ``in_flight`` are the tasks whose step runs or is about to, by id."""

    def __init__(self, spec: PipelineSpec, run: RunFacts, tasks: Iterable[TaskFacts] = ()) -> None:
        self.spec, self.run = spec, run
        self.in_flight: dict[str, Node] = {}
        self._tree = Tree(spec, run.run_id)
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
                    self._step_failed(node, event.error)
            case Cancel():
                self._cancel()
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
        steps = (node for node in self._tree.nodes.values() if node.kind in _STEPS)
        self.in_flight = {node.id: node for node in steps if not node.ended}

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
            if node.ended:
                continue
            if node.kind in _STEPS:
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
            if spec.trigger_policy.condition and not evaluate(spec.trigger_policy.condition, node.inputs.parameters):
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
        importer = self.spec.executor(node.component).importer
        if importer is None:
            node.launched = True
            self._orders.append(Launch(task_id=node.id, attempt=node.attempt))
            return
        try:
            self._orders.append(self._import(node, importer))
        except (InputProblem, PlaceholderError) as problem:
            self._fail(node, str(problem))

    def _import(self, node: Node, importer: ImporterSpec) -> Import:
        source = importer.artifact_uri
        texts = Scope(names=self.names(node), parameters=node.inputs.parameters)
        if source.runtime_parameter:
            uri = to_text(node.inputs.parameters.get(source.runtime_parameter))
        else:
            uri = expand_text(to_text(None if source.constant is msgspec.UNSET else source.constant), texts)
        if not uri:
            raise InputProblem("the importer got no artifact URI")
        title = importer.type_schema.schema_title or "system.Artifact"
        metadata: Any = expand(plain(importer.metadata), texts)
        return Import(
            task_id=node.id, key=IMPORTED, uri=uri, type=title, metadata=metadata, reuse=not importer.reimport
        )

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

    def _step_failed(self, node: Node, error: str) -> None:
        policy = node.spec.retry_policy if node.spec else RetryPolicy()
        if node.kind == CONTAINER and node.attempt < policy.max_retry_count:
            delay = _backoff(policy, node.attempt)
            node.attempt += 1
            why = error or "the step failed"
            self._orders.append(Launch(task_id=node.id, attempt=node.attempt, delay=delay, error=why))
        else:
            self._fail(node, error)

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
        if failed:
            self._fail(node, str(node.below))
        else:
            self._finish(node, SUCCEEDED, loop_outputs(node) if node.iterations else dag_outputs(node))

    # The user's word

    def _cancel(self) -> None:
        for node in self._tree.nodes.values():
            if node.ended:
                continue
            if node.kind in _STEPS:
                self._orders.append(Stop(node.id))
            node.state = CANCELED
            self._orders.append(Finish(task_id=node.id, state=CANCELED))
        self.in_flight.clear()
        self._orders.append(FinishRun(FAILED, CANCEL_MESSAGE))

    def _retry(self) -> None:
        """What ended well stays. Steps that ran get another attempt, what was decided without running is forgotten."""
        pending = [self._tree.root] if self._tree.root else []
        while pending:
            node = pending.pop()
            if node.well or not node.ended:
                continue
            children = list(node.inside())
            if node.iteration is None and not children and not node.launched:
                self._tree.remove(node)
                self._orders.append(Forget(node.id))
                continue
            if node.kind in _STEPS:
                node.attempt += 1
            node.state, node.error, node.outputs = PENDING if node.kind in _STEPS else RUNNING, "", NOTHING
            self._orders.append(Reopen(node.id, node.state, node.attempt))
            pending += children
        self._tree.recount()
        self._take_stock()
        self._begin()


def _backoff(policy: RetryPolicy, failed_attempt: int) -> float:
    """Seconds until the attempt after ``failed_attempt`` (counted from 0)."""
    most = seconds(policy.backoff_max_duration) or _MAX_BACKOFF
    delay, factor = seconds(policy.backoff_duration), policy.backoff_factor or 1.0
    for _ in range(failed_attempt):
        if delay >= most:
            break
        delay *= factor
    return min(delay, most)
