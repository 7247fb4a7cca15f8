"""Training jobs as tests write them: JSON, as users do."""

from typing import Any

from ketch.kube.codec import decode
from ketch.training.jobs.framework import JobKind
from ketch.training.jobs.kinds import KINDS

BY_NAME = {kind.name: kind for kind in KINDS}


def a_replica(kind: JobKind[Any], replicas: int | None = None, policy: str = "", **container: Any) -> dict[str, Any]:
    """A replica's spec."""
    main = {"name": kind.container, "image": "python:3.11", "command": ["python3", "-c", "pass"], **container}
    spec: dict[str, Any] = {"template": {"spec": {"containers": [main]}}}
    if replicas is not None:
        spec["replicas"] = replicas
    if policy:
        spec["restartPolicy"] = policy
    return spec


def a_job(kind_name: str, name: str = "job", run_policy: dict[str, Any] | None = None, **roles: Any) -> Any:
    """A job of that kind; ``roles`` give a number of replicas, a replica's spec; ``spec`` more fields."""
    kind = BY_NAME[kind_name]
    extra = roles.pop("spec", {})
    replicas = {role: each if isinstance(each, dict) else a_replica(kind, each) for role, each in roles.items()}
    raw = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"runPolicy": run_policy or {}, kind.replicas_path: replicas, **extra},
    }
    return decode(kind.kind, raw)


def environment(kind_name: str, job: Any, role: str, index: int) -> dict[str, str]:
    """What that replica is told."""
    kind = BY_NAME[kind_name]
    return {each.name: each.value for each in kind.environment(kind.understand(job), role, index)}
