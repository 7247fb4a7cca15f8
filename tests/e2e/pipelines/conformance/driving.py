"""Runs cases: submits through the official client, waits for all of them together, and looks at what became of each."""

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kfp
from kfp import compiler
from tests.e2e.pipelines.conformance.cases import Case
from tests.e2e.pipelines.conformance.seen import Seen, SeenTask, paths
from tests.e2e.platforms import Platform

AT_ONCE = 12
PATIENCE = 150.0
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"})
_EVERY = 0.25


class Waiter:
    """Waits for many runs by listing: one question for all of them."""

    def __init__(self, client: kfp.Client) -> None:
        self._runs = client._run_api
        self._waiting: dict[str, Future[None]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def wait(self, run_id: str) -> None:
        """Until the run has ended."""
        with self._lock:
            ended = self._waiting.setdefault(run_id, Future())
        ended.result(PATIENCE)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY):
            with self._lock:
                waiting = dict(self._waiting)
            if not waiting:
                continue
            try:
                states = self._states(waiting)
            except Exception as error:  # noqa: BLE001  # every waiting case is told
                for each in waiting.values():
                    each.set_exception(error)
                states = dict.fromkeys(waiting, "FAILED")
            for run_id, ended in waiting.items():
                if states.get(run_id) in ENDED:
                    if not ended.done():
                        ended.set_result(None)
                    with self._lock:
                        self._waiting.pop(run_id, None)

    def _states(self, wanted: Iterable[str]) -> Mapping[str, str]:
        """The newest runs at once, and those that have been going for longer one by one."""
        found = self._runs.run_service_list_runs(page_size=100, sort_by="created_at desc")
        states = {run.run_id: run.state for run in found.runs or []}
        old = {run_id: self._runs.run_service_get_run(run_id).state for run_id in wanted if run_id not in states}
        return states | old


class Driver:
    """The official client's way to a platform, as scenarios and cases use it."""

    def __init__(self, platform: Platform, client: kfp.Client, packages: Path) -> None:
        self.platform, self.client, self._packages = platform, client, packages
        self._compiling = threading.Lock()  # the compiler keeps its state in globals
        self._waiter = Waiter(client)

    def compile(self, pipeline: Any) -> str:
        """The pipeline's package."""
        target = self._packages / f"{pipeline.pipeline_spec.pipeline_info.name}.yaml"
        with self._compiling:
            if not target.exists():
                compiler.Compiler().compile(pipeline, str(target))
        return str(target)

    def start(self, pipeline: Any, caching: bool | None = None, **arguments: Any) -> str:
        """Submit, and say the run's id."""
        package = self.compile(pipeline)
        result = self.client.create_run_from_pipeline_package(package, arguments=arguments, enable_caching=caching)
        return str(result.run_id)

    def run(self, pipeline: Any, caching: bool | None = None, **arguments: Any) -> Seen:
        """Submit, wait, and look."""
        return self.ended(self.start(pipeline, caching, **arguments))

    def ended(self, run_id: str) -> Seen:
        """What became of a run."""
        self._waiter.wait(run_id)
        return self.seen(run_id)

    def seen(self, run_id: str) -> Seen:
        """What there is of a run."""
        run = self.client.get_run(run_id)
        tasks = {path: SeenTask(path, message) for path, message in paths(self._tasks(run_id))}
        return Seen(run, tasks)

    def state_of(self, run_id: str) -> str:
        """The run's state now."""
        return str(self.client.get_run(run_id).state)

    def close(self) -> None:
        self._waiter.close()

    def _tasks(self, run_id: str) -> list[Mapping[str, Any]]:
        """The run's tasks; the generated client knows no call for them, but how to make one."""
        found: list[Mapping[str, Any]] = []
        token = ""
        while True:
            page: Any = self.client._run_api.api_client.call_api(
                f"/apis/v2beta1/runs/{run_id}/tasks",
                "GET",
                query_params=[("page_size", 200), ("page_token", token)],
                response_type="object",
                _return_http_data_only=True,
            )
            found += page.get("tasks", [])
            token = page.get("next_page_token", "")
            if not token:
                return found


class Suite:
    """All chosen cases on one platform: submitted together, each answered when asked for."""

    def __init__(self, driver: Driver, cases: Iterable[Case]) -> None:
        self._driver = driver
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._futures = {str(case): self._pool.submit(self._carry_out, case) for case in cases}

    def result(self, case: Case) -> None:
        """Raises what went wrong."""
        started = time.monotonic()
        self._futures[str(case)].result(max(1.0, 2 * PATIENCE - (time.monotonic() - started)))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._driver.close()

    def _carry_out(self, case: Case) -> None:
        if case.scenario:
            case.scenario(self._driver)
            return
        assert case.expect
        case.expect.hold(self._driver.run(case.pipeline, case.caching, **case.arguments))
