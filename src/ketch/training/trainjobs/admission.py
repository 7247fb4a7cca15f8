"""What a TrainJob and a runtime must be before they are stored. Pure."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from ketch.kube.admission import Admission, View
from ketch.kube.causes import forbidden, immutable, invalid, required, unsupported
from ketch.kube.errors import Cause
from ketch.training.checkpoints.contract import problems as checkpoint_problems
from ketch.training.jobsets.types import ReplicatedJob
from ketch.training.trainjobs.assembly import ANCESTOR, DATASET, MODEL, TRAINER, ancestor_of
from ketch.training.trainjobs.checks import check_policy
from ketch.training.trainjobs.policies import NODE, RESERVED
from ketch.training.trainjobs.types import (
    CLUSTER_RUNTIME,
    GROUP,
    MANAGED_BY,
    RUNTIME,
    ClusterTrainingRuntime,
    MLPolicy,
    RuntimePatch,
    TrainingRuntime,
    TrainingRuntimeSpec,
    TrainJob,
    TrainJobSpec,
)

VOLUME: Final = "initializer"
"""What initializers write to."""

_DNS_1035: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LONGEST_NAME: Final = 63
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
_MANAGERS: Final = (MANAGED_BY, "kueue.x-k8s.io/multikueue")
SUPPORT: Final = "trainer.kubeflow.org/support"
"""A runtime's label that says whether it is still looked after."""

_DEPRECATED: Final = "deprecated"
_WHILE_SUSPENDED: Final = {"runtime_patches": "runtimePatches", "pod_template_overrides": "podTemplateOverrides"}
_FIXED: Final = {
    "runtime_ref": "runtimeRef",
    "initializer": "initializer",
    "trainer": "trainer",
    "active_deadline_seconds": "activeDeadlineSeconds",
    "managed_by": "managedBy",
}


def runtime_of(job: TrainJob, view: View) -> TrainingRuntime | ClusterTrainingRuntime | None:
    """The job's runtime; None when there is no such runtime."""
    reference = job.spec.runtime_ref
    if (reference.kind or CLUSTER_RUNTIME) == RUNTIME:
        return view.get(TrainingRuntime, job.metadata.namespace, reference.name)
    return view.get(ClusterTrainingRuntime, "", reference.name)


class TrainJobAdmission(Admission[TrainJob]):
    """Completes and checks TrainJobs."""

    kind = TrainJob

    def complete(self, obj: TrainJob, old: TrainJob | None, view: View) -> TrainJob:
        """The reference to the runtime in full, so that clients need no defaults of their own; when patches came."""
        reference = obj.spec.runtime_ref
        whole = msgspec.structs.replace(
            reference, api_group=reference.api_group or GROUP, kind=reference.kind or CLUSTER_RUNTIME
        )
        spec = msgspec.structs.replace(
            obj.spec,
            runtime_ref=whole,
            runtime_patches=tuple(_timed(obj.spec, old.spec if old else TrainJobSpec(), view.now)),
            suspend=bool(obj.spec.suspend),
            managed_by=obj.spec.managed_by or MANAGED_BY,
        )
        return msgspec.structs.replace(obj, spec=spec)

    def check(self, obj: TrainJob, old: TrainJob | None, view: View) -> Iterable[Cause]:
        """What is wrong with the job."""
        yield from checkpoint_problems(obj.metadata.annotations)
        if old is not None:
            yield from _changes(obj.spec, old.spec)
            return
        name = obj.metadata.name
        if not _DNS_1035.fullmatch(name) or len(name) > _LONGEST_NAME:
            yield invalid("metadata.name", name, "must be a DNS-1035 label of at most 63 characters")
        if obj.spec.managed_by not in _MANAGERS:
            yield unsupported("spec.managedBy", obj.spec.managed_by, _MANAGERS)
        yield from _sources(obj.spec)
        if not obj.spec.runtime_ref.name:
            yield required("spec.runtimeRef.name", "which runtime the job is made from")
            return
        runtime = runtime_of(obj, view)
        if runtime is None:
            reference = obj.spec.runtime_ref
            message = f"there is no {reference.kind} of this name: create it, or choose one of those there are"
            yield invalid("spec.runtimeRef.name", reference.name, message)
        else:
            yield from _beside(obj, runtime.spec)

    def warn(self, obj: TrainJob, old: TrainJob | None, view: View) -> Iterable[str]:
        """What of the job will not be there for ever."""
        runtime = runtime_of(obj, view) if old is None else None
        if runtime is not None and runtime.metadata.labels.get(SUPPORT) == _DEPRECATED:
            kind, name = runtime.resource.kind, runtime.metadata.name
            yield f'spec.runtimeRef: {kind} "{name}" is deprecated: new jobs should be made from another runtime'
        if obj.spec.pod_template_overrides:
            yield "spec.podTemplateOverrides is deprecated: use spec.runtimePatches"


def _beside(job: TrainJob, runtime: TrainingRuntimeSpec) -> Iterable[Cause]:
    """What of the job does not go with its runtime."""
    yield from _targets(job.spec, runtime)
    if runtime.ml_policy is not None:
        yield from _trainer(job.spec, runtime.ml_policy)
        yield from check_policy(job, runtime)


def _timed(new: TrainJobSpec, old: TrainJobSpec, now: datetime) -> Iterable[RuntimePatch]:
    """The patches with the time at which each came to say what it says."""
    before = {each.manager: each for each in old.runtime_patches}
    for patch in new.runtime_patches:
        known = before.get(patch.manager)
        same = known is not None and known.training_runtime_spec == patch.training_runtime_spec
        moment = known.time if known is not None and same and known.time else now.replace(microsecond=0)
        yield msgspec.structs.replace(patch, time=moment)


def _targets(spec: TrainJobSpec, runtime: TrainingRuntimeSpec) -> Iterable[Cause]:
    names = [each.name for each in runtime.template.spec.replicated_jobs]
    for number, override in enumerate(spec.pod_template_overrides):
        here = f"spec.podTemplateOverrides[{number}].targetJobs"
        if not override.target_jobs:
            yield required(here, "the replicated jobs whose pods are meant")
        for index, target in enumerate(override.target_jobs):
            if target.name not in names:
                yield unsupported(f"{here}[{index}].name", target.name, names)


def _sources(spec: TrainJobSpec) -> Iterable[Cause]:
    initializer = spec.initializer
    for name in ("dataset", "model"):
        source = getattr(initializer, name, None)
        if source is not None and source.storage_uri and not _URI.fullmatch(source.storage_uri):
            yield invalid(f"spec.initializer.{name}.storageUri", source.storage_uri, "must be a URI: hf://, s3://, ...")


def _trainer(spec: TrainJobSpec, policy: MLPolicy) -> Iterable[Cause]:
    if policy.torch is not None and spec.trainer is not None:
        for number, variable in enumerate(spec.trainer.env):
            if variable.name in RESERVED:
                yield forbidden(f"spec.trainer.env[{number}].name", f"{variable.name} is set by the runtime")


def _changes(new: TrainJobSpec, old: TrainJobSpec) -> Iterable[Cause]:
    for attribute, name in _FIXED.items():
        if getattr(new, attribute) != getattr(old, attribute):
            yield immutable(f"spec.{name}", name)
    for attribute, name in _WHILE_SUSPENDED.items():
        if getattr(new, attribute) != getattr(old, attribute) and not (old.suspend or new.suspend):
            yield forbidden(f"spec.{name}", "may only change while the job is suspended")


def _initializer(replicated: ReplicatedJob, step: str, here: str) -> Iterable[Cause]:
    """It is found by its name, and brings what it fetches to the volume that the trainer reads."""
    if replicated.name != step:
        yield invalid(f"{here}.name", replicated.name, f'must be "{step}"')
    path = f"{here}.template.spec.template.spec.containers"
    for number, container in enumerate(replicated.template.spec.template.spec.containers):
        if container.name == step and VOLUME not in {each.name for each in container.volume_mounts}:
            yield required(f"{path}[{number}].volumeMounts", f'the volume "{VOLUME}", which it shares with the trainer')


class RuntimeAdmission(Admission[Any]):
    """Checks runtimes of either scope."""

    def __init__(self, kind: type[TrainingRuntime] | type[ClusterTrainingRuntime]) -> None:
        self.kind = kind

    def check(self, obj: Any, old: Any, view: View) -> Iterable[Cause]:  # noqa: ARG002
        """What is wrong with the runtime."""
        spec: TrainingRuntimeSpec = obj.spec
        path = "spec.template.spec.replicatedJobs"
        steps = [ancestor_of(each) for each in spec.template.spec.replicated_jobs]
        if TRAINER not in steps:
            yield required(path, f"one of them must have the label {ANCESTOR}: {TRAINER}")
        for number, replicated in enumerate(spec.template.spec.replicated_jobs):
            here, step = f"{path}[{number}]", steps[number]
            names = {each.name for each in replicated.template.spec.template.spec.containers}
            wanted = NODE if step == TRAINER else step
            if step in (TRAINER, DATASET, MODEL) and wanted not in names:
                yield required(f"{here}.template.spec.template.spec.containers", f'a container named "{wanted}"')
            elif step and step not in (TRAINER, DATASET, MODEL):
                yield unsupported(f"{here}.template.metadata.labels", step, (TRAINER, DATASET, MODEL))
            elif step in (DATASET, MODEL):
                yield from _initializer(replicated, step, here)
        if spec.pod_group_policy is not None and spec.pod_group_policy.volcano is not None:
            yield unsupported("spec.podGroupPolicy", "volcano", ("coscheduling",))
        policy = spec.ml_policy
        if policy is not None:
            chosen = [each for each in ("torch", "mpi", "jax", "xgboost", "flux") if getattr(policy, each) is not None]
            if len(chosen) > 1:
                yield invalid("spec.mlPolicy", chosen, "only one of the policies may be set")
