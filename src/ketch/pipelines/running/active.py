"""A run that is being driven: its machine, its pods, and how its tasks' pods and places are called."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import Any

from ketch.kube.codec import format_time
from ketch.kube.meta import ObjectKey
from ketch.pipelines.engine.inputs import InputProblem
from ketch.pipelines.engine.machine import Machine
from ketch.pipelines.engine.nodes import Node
from ketch.pipelines.ir.platform import PipelineConfig, executor_config
from ketch.pipelines.ir.spec import ParameterInput
from ketch.pipelines.kubernetes.amending import settings
from ketch.pipelines.kubernetes.settings import claim_names
from ketch.pipelines.records.states import PENDING, RUNNING
from ketch.pipelines.records.tables import Run
from ketch.pipelines.running.downloads import download
from ketch.pipelines.running.timetable import Timetable
from ketch.pipelines.running.window import Window
from ketch.pipelines.steps.layout import TaskPlace, place_of
from ketch.pipelines.steps.placeholders import Names
from ketch.pipelines.steps.pods import Made
from ketch.pipelines.steps.step import PodProblem, Step, pod_name
from ketch.pipelines.steps.workspace import claim_name


@dataclass
class Active:
    """``pods`` are the in-flight tasks by their pods' names, ``changed`` the pods that something happened to since the
    last pass. ``due`` is when to look at a task again: its next attempt may start, or its patience ends. ``since`` is
    when the first attempt was ordered of tasks that may have several. ``prepared`` are pods, by name, that are put
    together and not made yet. ``state`` is the run's as this pass has read or written it, empty while it has done
    neither; ``told`` when there is something in it for the next pass."""

    run: Run
    machine: Machine
    config: PipelineConfig
    pods: dict[str, str] = field(default_factory=dict[str, str])
    changed: set[str] = field(default_factory=set[str])
    running: set[str] = field(default_factory=set[str])
    reasons: dict[str, str] = field(default_factory=dict[str, str])
    keyed: set[str] = field(default_factory=set[str])
    due: Timetable = field(default_factory=Timetable)
    since: dict[str, datetime] = field(default_factory=dict[str, datetime])
    window: Window = field(default_factory=Window)
    prepared: dict[str, Made] = field(default_factory=dict[str, Made])
    state: str = ""
    told: bool = False

    @cached_property
    def deadline(self) -> datetime | None:
        """When the run must have ended; counted from the last time it was started or retried."""
        if not self.config.active_deadline_seconds:
            return None
        started = self.run.created_at
        for entry in self.run.state_history:
            if entry["state"] in (PENDING, RUNNING):
                started = datetime.fromisoformat(entry["update_time"])
        return started + timedelta(seconds=self.config.active_deadline_seconds)

    @property
    def workspace(self) -> str:
        """The claim of the run's workspace; empty when it has none."""
        return claim_name(self.run.id) if self.config.workspace else ""

    def name(self, node: Node) -> str:
        """Of the pod of the task's attempt."""
        return pod_name(self.run.name, node.name, node.id, node.attempt)

    def pod_key(self, node: Node) -> ObjectKey:
        """Where the pod is."""
        return ObjectKey(self.run.namespace, self.name(node))

    def place(self, node: Node) -> TaskPlace:
        """The directory of the task's attempt."""
        run, pipeline = self.run, self.machine.spec.pipeline_info.name
        return place_of(run.pipeline_root, pipeline, run.id, (node.name, node.id), node.attempt)

    def platform(self, node: Node) -> Mapping[str, Any]:
        """What the specification says of Kubernetes for the task."""
        return executor_config(self.run.platform_spec, node.component)

    def claim_names(self, node: Node) -> list[str]:
        """The claims that the task mounts."""
        if "pvcMount" not in self.platform(node):
            return []
        try:
            return claim_names(settings(self.step(node)))
        except PodProblem:
            return []  # it will fail for the same reason when it starts

    def step(self, node: Node) -> Step:
        """The task, ready to run. Raises PodProblem."""
        executor = self.machine.spec.executor(node.component)
        container, component, inputs = executor.container, node.component, node.inputs
        platform = self.platform(node)
        if executor.importer is not None:
            try:
                container, component, inputs, platform = download(self.machine.imported(node), self.workspace)
            except InputProblem as problem:
                raise PodProblem(str(problem)) from problem
        if container is None:
            raise PodProblem(f"task {node.path} runs no container")
        return Step(
            namespace=self.run.namespace,
            run_id=self.run.id,
            task_id=node.id,
            path=node.path,
            pod_name=self.name(node),
            attempt=node.attempt,
            retries=bool(node.spec and node.spec.retry_policy.max_retry_count),
            service_account=self.run.service_account,
            names=self.machine.names(node),
            place=self.place(node),
            component=component,
            container=container,
            inputs=inputs,
            platform=platform,
            resolve=partial(self._value, node),
            workspace=self.workspace,
        )

    def _value(self, node: Node, source: ParameterInput) -> Any:
        try:
            return self.machine.value(node, source)
        except InputProblem as problem:
            raise PodProblem(str(problem)) from problem


def names_of(run: Run) -> Names:
    """What the ``{{$.pipeline_job_...}}`` placeholders mean in a run."""
    return Names(
        pipeline_job_name=run.display_name,
        pipeline_job_resource_name=run.name,
        pipeline_job_uuid=run.id,
        pipeline_job_create_time_utc=format_time(run.created_at.replace(microsecond=0)),
        pipeline_job_schedule_time_utc=format_time((run.scheduled_at or run.created_at).replace(microsecond=0)),
        pipeline_root=run.pipeline_root,
    )
