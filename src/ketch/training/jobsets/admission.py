"""What a JobSet must be before it is stored: completed with its defaults, checked for what could never run. Pure."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from ketch.kube.admission import Admission, View
from ketch.kube.causes import duplicate, forbidden, immutable, invalid, required, unsupported
from ketch.kube.errors import Cause
from ketch.training.jobsets.desired import job_name, replicas_of
from ketch.training.jobsets.types import JobSet, Network, ReplicatedJob, StartupPolicy, SuccessPolicy

_DNS_1035: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LONGEST_NAME: Final = 63
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
JOB_FAILURES: Final = (
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "FailedIndexes",
    "MaxFailedIndexesExceeded",
    "PodFailurePolicy",
)
"""Why a Job fails."""

GROUP: Final = "default"
"""The group of replicated jobs that name none."""


class JobSetAdmission(Admission[JobSet]):
    """Completes and checks JobSets."""

    kind = JobSet

    def complete(self, obj: JobSet, old: JobSet | None, view: View) -> JobSet:  # noqa: ARG002
        """Policies and network as they are understood."""
        spec = obj.spec
        network = spec.network or Network()
        spec = msgspec.structs.replace(
            spec,
            network=msgspec.structs.replace(
                network,
                enable_dns_hostnames=network.enable_dns_hostnames is not False,
                publish_not_ready_addresses=network.publish_not_ready_addresses is not False,
            ),
            success_policy=_success(spec.success_policy or SuccessPolicy()),
            startup_policy=_startup(spec.startup_policy or StartupPolicy()),
            replicated_jobs=tuple(map(_replicated, spec.replicated_jobs)),
        )
        return msgspec.structs.replace(obj, spec=spec)

    def check(self, obj: JobSet, old: JobSet | None, view: View) -> Iterable[Cause]:  # noqa: ARG002
        """What is wrong with the JobSet."""
        spec = obj.spec
        if not spec.replicated_jobs:
            yield required("spec.replicatedJobs", "a JobSet needs at least one")
        seen: set[str] = set()
        for number, replicated in enumerate(spec.replicated_jobs):
            path = f"spec.replicatedJobs[{number}]"
            if replicated.name in seen:
                yield duplicate(f"{path}.name", replicated.name)
            yield from self._check_dependencies(replicated, path, seen)
            yield from self._check_names(obj, replicated, path)
            seen.add(replicated.name)
        yield from self._check_targets(obj, seen)
        yield from self._check_network(obj)
        if old is not None:
            yield from self._check_changes(obj, old)

    def warn(self, obj: JobSet, old: JobSet | None, view: View) -> Iterable[str]:  # noqa: ARG002
        """What upstream will not have for ever."""
        startup = obj.spec.startup_policy
        if startup is not None and startup.in_order:
            yield "spec.startupPolicy is deprecated: say with spec.replicatedJobs[*].dependsOn what waits for what"

    def _check_dependencies(self, replicated: ReplicatedJob, path: str, seen: set[str]) -> Iterable[Cause]:
        for number, dependency in enumerate(replicated.depends_on):
            if dependency.name not in seen:
                message = "must be a replicated job that stands before this one"
                yield invalid(f"{path}.dependsOn[{number}].name", dependency.name, message)

    def _check_names(self, obj: JobSet, replicated: ReplicatedJob, path: str) -> Iterable[Cause]:
        """The longest host name of a pod must be a DNS label."""
        last = max(replicas_of(replicated) - 1, 0)
        name = f"{job_name(obj, replicated, last)}-{max(_pods_of(replicated) - 1, 0)}"
        if not _DNS_1035.fullmatch(name) or len(name) > _LONGEST_NAME:
            message = f"its pods would be called {name}: at most {_LONGEST_NAME} lower case letters, digits and '-'"
            yield invalid(f"{path}.name", replicated.name, message)

    def _check_targets(self, obj: JobSet, names: set[str]) -> Iterable[Cause]:
        spec = obj.spec
        targets = spec.success_policy.target_replicated_jobs if spec.success_policy else ()
        for name in targets:
            if name not in names:
                yield invalid("spec.successPolicy.targetReplicatedJobs", name, "there is no such replicated job")
        for number, rule in enumerate(spec.failure_policy.rules if spec.failure_policy else ()):
            path = f"spec.failurePolicy.rules[{number}]"
            for name in rule.target_replicated_jobs:
                if name not in names:
                    yield invalid(f"{path}.targetReplicatedJobs", name, "there is no such replicated job")
            for reason in rule.on_job_failure_reasons:
                if reason not in JOB_FAILURES:
                    yield unsupported(f"{path}.onJobFailureReasons", reason, JOB_FAILURES)
            for pattern in rule.on_job_failure_message_patterns:
                try:
                    re.compile(pattern)
                except re.error as error:
                    yield invalid(f"{path}.onJobFailureMessagePatterns", pattern, f"is no regular expression: {error}")
        in_order = spec.startup_policy is not None and spec.startup_policy.in_order
        if in_order and any(each.depends_on for each in spec.replicated_jobs):
            yield forbidden("spec.startupPolicy", "InOrder and dependsOn exclude each other")

    def _check_network(self, obj: JobSet) -> Iterable[Cause]:
        """Names that others can reach: the subdomain, and the pod that leads."""
        subdomain = obj.spec.network.subdomain if obj.spec.network else ""
        if subdomain and (not _SUBDOMAIN.fullmatch(subdomain) or len(subdomain) > _LONGEST_NAME):
            message = f"at most {_LONGEST_NAME} lower case letters, digits and '-'"
            yield invalid("spec.network.subdomain", subdomain, message)
        coordinator, path = obj.spec.coordinator, "spec.coordinator"
        if coordinator is None:
            return
        lead = next((each for each in obj.spec.replicated_jobs if each.name == coordinator.replicated_job), None)
        if lead is None:
            yield invalid(f"{path}.replicatedJob", coordinator.replicated_job, "there is no such replicated job")
            return
        if coordinator.job_index >= replicas_of(lead):
            yield invalid(f"{path}.jobIndex", coordinator.job_index, f"must be less than {replicas_of(lead)}")
        if coordinator.pod_index >= _pods_of(lead):
            yield invalid(f"{path}.podIndex", coordinator.pod_index, f"must be less than {_pods_of(lead)}")

    def _check_changes(self, obj: JobSet, old: JobSet) -> Iterable[Cause]:
        """Pods are made once; while nothing runs, their templates may change."""
        if obj.spec.managed_by != old.spec.managed_by:
            yield immutable("spec.managedBy", obj.spec.managed_by)
        if not old.spec.suspend and obj.spec.replicated_jobs != old.spec.replicated_jobs:
            yield forbidden("spec.replicatedJobs", "may only change while the JobSet is suspended")


def _pods_of(replicated: ReplicatedJob) -> int:
    """How many indexes each of its Jobs has."""
    return replicated.template.spec.completions or replicated.template.spec.parallelism or 1


def _success(policy: SuccessPolicy) -> SuccessPolicy:
    return msgspec.structs.replace(policy, operator=policy.operator or "All")


def _startup(policy: StartupPolicy) -> StartupPolicy:
    return msgspec.structs.replace(policy, startup_policy_order=policy.startup_policy_order or "AnyOrder")


def _replicated(each: ReplicatedJob) -> ReplicatedJob:
    return msgspec.structs.replace(each, replicas=replicas_of(each), group_name=each.group_name or GROUP)
