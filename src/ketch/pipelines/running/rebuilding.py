"""The pod of a step that is not there any more, or never was because its outputs were known: told again from the run's
rows. Nothing is made or written."""

import msgspec

from ketch.kube.types.pods import Pod
from ketch.metadata.artifacts import ArtifactStore
from ketch.metadata.objects import KeyOutside, StoreError
from ketch.pipelines.engine.machine import Machine
from ketch.pipelines.engine.orders import RunFacts
from ketch.pipelines.engine.reopening import STEPS
from ketch.pipelines.errors import FailedPrecondition, NotFound
from ketch.pipelines.ir.platform import pipeline_config
from ketch.pipelines.ir.reading import SpecError, read
from ketch.pipelines.records.ledger import Ledger
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.records.tables import Run
from ketch.pipelines.running.active import Active, names_of
from ketch.pipelines.steps.layout import in_workspace
from ketch.pipelines.steps.pods import made
from ketch.pipelines.steps.step import PodProblem, Step
from ketch.pipelines.transfer.providers import ConfigurationProblem
from ketch.pipelines.transfer.stores import Stores


class Rebuilder:
    """Tells pods from rows."""

    def __init__(self, runs: RunStore, artifacts: ArtifactStore, stores: Stores) -> None:
        self._ledger, self._stores = Ledger(runs, artifacts), stores

    async def pod(self, run: Run, task_id: str, attempt: int) -> Pod:
        """The pod that an attempt of the task had, or would have. Raises NotFound, FailedPrecondition."""
        try:
            spec, config = read(run.pipeline_spec), pipeline_config(run.platform_spec)
            facts = RunFacts(
                run_id=run.id, parameters=run.parameters, names=names_of(run), generation=run.retry_generation
            )
            tasks = await self._ledger.tasks(run.id)
            active = Active(run, Machine(spec, facts, [task for _, task in tasks]), config)
            node = active.machine.node(task_id)
            if node.kind not in STEPS:
                raise PodProblem(f"task {node.path} runs no container")
            node.attempt = attempt
            carriage = self._stores.carriage(run.namespace)
            step = msgspec.structs.replace(active.step(node), carriage=carriage)
            return made(step, await self._present(step)).pod
        except KeyError:  # the machine knows no such task
            raise NotFound(f"Run {run.id} has no task {task_id}") from None
        except (SpecError, PodProblem, ConfigurationProblem) as error:
            raise FailedPrecondition(f"The pod of task {task_id} cannot be told: {error}") from error

    async def _present(self, step: Step) -> set[str]:
        objects = await self._stores.of(step.namespace)
        found: set[str] = set()
        for artifact in (each for several in step.inputs.artifacts.values() for each in several):
            if in_workspace(artifact.metadata) or step.carriage.is_carried(artifact.uri):
                continue
            try:
                if await objects.exists(artifact.uri):
                    found.add(artifact.uri)
            except (KeyOutside, StoreError):
                continue  # what is not there is for the step to find out
        return found
