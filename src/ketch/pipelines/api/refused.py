"""Calls that Kubeflow Pipelines has and that mean nothing here: each is refused with the reason."""

from collections.abc import Sequence

from ketch.pipelines.api.http import Operation, route
from ketch.pipelines.api.messages import Empty
from ketch.pipelines.errors import FailedPrecondition, PermissionDenied


class RefusedService:
    """ReportService, with which upstream's own agents tell of workflows, and VisualizationService of KFP 1."""

    def routes(self) -> Sequence[Operation]:
        """Where they are."""
        return (
            route("POST", "/workflows", self._report),
            route("POST", "/scheduledworkflows", self._report_scheduled),
            route("POST", "/visualizations/{namespace}", self._visualize),
        )

    async def _report(self) -> Empty:
        raise PermissionDenied("runs are recorded by the platform's engine alone; there are no workflows to report")

    async def _report_scheduled(self) -> Empty:
        raise PermissionDenied("recurring runs are kept by the platform alone; there are no workflows to report")

    async def _visualize(self) -> Empty:
        raise FailedPrecondition(
            "visualizations are not generated on the server: a step writes system.HTML, system.Markdown, "
            "system.Metrics or system.ClassificationMetrics artifacts instead"
        )
