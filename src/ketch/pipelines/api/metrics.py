"""What the API has been asked, how long it took and how many runs there are, in Prometheus' text form."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ketch.kube.clock import Clock
from ketch.kube.metrics import CONTENT_TYPE, Registry
from ketch.pipelines.api.http import Declared, Operation
from ketch.pipelines.records.runs import RunStore

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_REQUESTS, _SECONDS, _RUNS = "ketch_pipelines_requests_total", "ketch_pipelines_request_seconds", "ketch_pipelines_runs"


class Metrics:
    """Counts of one process since its start; beside its own, what ``others`` of it count."""

    def __init__(self, runs: RunStore, others: Registry) -> None:
        self._runs, self._others = runs, others
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS) + 1))

    def observe(self, operation: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests[operation, status] += 1
        self._seconds[operation] += seconds
        self._buckets[operation][bisect_left(BUCKETS, seconds)] += 1

    def operation(self) -> Operation:
        """The operation that answers the counts."""
        return Operation("GET", "/metrics", self._answer, Declared("Metrics_get", media="text/plain"))

    async def _answer(self, request: Request) -> Response:  # noqa: ARG002  # Starlette's signature
        return Response(self.text(await self._runs.states()) + self._others.text(), media_type=CONTENT_TYPE)

    def text(self, states: Mapping[str, int]) -> str:
        """All counts; ``states`` are the runs by their state."""
        lines = [f"# HELP {_REQUESTS} Answers by operation and code.", f"# TYPE {_REQUESTS} counter"]
        lines += [
            f'{_REQUESTS}{{operation="{operation}",code="{code}"}} {count}'
            for (operation, code), count in sorted(self._requests.items())
        ]
        lines += [f"# HELP {_SECONDS} Time to an answer.", f"# TYPE {_SECONDS} histogram"]
        for operation, counts in sorted(self._buckets.items()):
            lines += self._histogram(operation, counts)
        lines += [f"# HELP {_RUNS} Runs by state.", f"# TYPE {_RUNS} gauge"]
        lines += [f'{_RUNS}{{state="{state}"}} {count}' for state, count in sorted(states.items())]
        return "\n".join(lines) + "\n"

    def _histogram(self, operation: str, counts: Sequence[int]) -> Iterable[str]:
        sums = list(accumulate(counts))
        for bound, reached in zip((*map(str, BUCKETS), "+Inf"), sums, strict=True):
            yield f'{_SECONDS}_bucket{{operation="{operation}",le="{bound}"}} {reached}'
        yield f'{_SECONDS}_sum{{operation="{operation}"}} {self._seconds[operation]:.6f}'
        yield f'{_SECONDS}_count{{operation="{operation}"}} {sums[-1]}'


class Measured:
    """ASGI middleware: counts every answer. ``operations`` are by what Starlette finds for a request."""

    def __init__(self, app: ASGIApp, metrics: Metrics, clock: Clock, operations: Iterable[Operation]) -> None:
        self._app, self._metrics, self._clock = app, metrics, clock
        # By identity: what Starlette finds may be a mount, which cannot be a key.
        self._names = {id(each.endpoint): each.declared.operation_id for each in operations}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and count its answer, when its head is sent: a log that is followed has no end."""
        begun = self._clock.monotonic()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                name = self._names.get(id(scope.get("endpoint")), "none")
                self._metrics.observe(name, message["status"], self._clock.monotonic() - begun)
            await send(message)

        await self._app(scope, receive, noted if scope["type"] == "http" else send)
