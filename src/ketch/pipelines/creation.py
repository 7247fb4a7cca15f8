"""From a request to a run's row: everything about a new run that does not need the database."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from ketch.metadata.objects import DEFAULT_ROOT
from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.ir.platform import pipeline_config
from ketch.pipelines.ir.reading import SpecError
from ketch.pipelines.ir.support import unsupported
from ketch.pipelines.macros import MacroValues, expand
from ketch.pipelines.parameters import check_parameters
from ketch.pipelines.records.states import AVAILABLE, CANCELED, FAILED, PENDING, SUCCEEDED, advance_run
from ketch.pipelines.records.tables import NAME_LENGTH, Run
from ketch.pipelines.specifications import Specification

USER_NAMESPACE: Final = "kubeflow"
"""Where the pods of runs live when there is one user."""

SERVICE_ACCOUNT: Final = "pipeline-runner"
_RESOURCE_NAME = re.compile(r"[^a-z0-9]+")
_RESOURCE_NAME_LENGTH: Final = 40  # leaves room for the task's name and hash in a pod's
_SUFFIX_LENGTH: Final = 5
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s]+\S*")


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why a schedule makes a run: which one, for which moment, its number in the row, and the id that follows."""

    run_id: str
    recurring_run_id: str
    scheduled_at: datetime
    index: int


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a user asks for. A version's ids are set when the specification was taken from the catalogue."""

    display_name: str
    experiment_id: str
    specification: Specification
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    pipeline_root: str = ""
    service_account: str = ""
    pipeline_id: str | None = None
    pipeline_version_id: str | None = None
    occasion: Occasion | None = None


def new_run(request: RunRequest, now: datetime, default_root: str = DEFAULT_ROOT) -> Run:
    """The row of a run that can start, with its artifacts at ``default_root`` when nobody names a root.

    Raises InvalidInput, naming the field.
    """
    if not request.display_name or len(request.display_name) > NAME_LENGTH:
        raise InvalidInput(f"display_name: a run needs a name of 1 to {NAME_LENGTH} characters")
    spec = request.specification.typed
    check_parameters(request.parameters, spec.root.input_definitions)
    root = request.pipeline_root or spec.default_pipeline_root or default_root
    if not _SCHEME.fullmatch(root):
        raise InvalidInput(f"pipeline_root: expected a URI such as {DEFAULT_ROOT}, not {root!r}")
    if refused := unsupported(spec, request.specification.platform, root):
        raise InvalidInput("; ".join(refused))
    occasion = request.occasion
    run_id = occasion.run_id if occasion else str(uuid4())
    macros = MacroValues(run_id, now, occasion.scheduled_at, occasion.index) if occasion else MacroValues(run_id, now)
    run = Run(
        id=run_id,
        name=resource_name(spec.pipeline_info.name, run_id),
        display_name=request.display_name,
        description=request.description,
        namespace=USER_NAMESPACE,
        experiment_id=request.experiment_id,
        pipeline_spec=request.specification.pipeline,
        platform_spec=request.specification.platform,
        pipeline_id=request.pipeline_id,
        pipeline_version_id=request.pipeline_version_id,
        recurring_run_id=occasion.recurring_run_id if occasion else None,
        parameters={name: expand(value, macros) for name, value in request.parameters.items()},
        pipeline_root=root.rstrip("/"),
        service_account=request.service_account or SERVICE_ACCOUNT,
        created_at=now,
        scheduled_at=occasion.scheduled_at if occasion else now,
        storage_state=AVAILABLE,
        resource_ttl=_resource_ttl(request.specification),
        retry_generation=0,
        state=PENDING,
    )
    advance_run(run, PENDING, now)
    return run


def _resource_ttl(specification: Specification) -> Mapping[str, int] | None:
    """How long the run's resources stay, by the state it ends in; what is not set is for ever."""
    try:
        success, failure = pipeline_config(specification.platform).seconds_kept
    except SpecError as error:
        raise InvalidInput(f"invalid pipeline spec: {error}") from error
    kept = {SUCCEEDED: success, FAILED: failure, CANCELED: failure}
    return {state: seconds for state, seconds in kept.items() if seconds} or None


def resource_name(pipeline_name: str, run_id: str) -> str:
    """The run's name as a resource: the pipeline's as a DNS label, and a suffix of the id."""
    prefix = _RESOURCE_NAME.sub("-", pipeline_name.lower())[:_RESOURCE_NAME_LENGTH].strip("-") or "run"
    return f"{prefix}-{run_id[:_SUFFIX_LENGTH]}"
