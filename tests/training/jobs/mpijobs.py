"""MPIJobs as tests write them: JSON, in the version that users choose."""

from typing import Any

from tests.playing import World


def a_replica(replicas: int | None = None, policy: str = "", container: str = "main", **spec: Any) -> dict[str, Any]:
    """A replica's spec; ``spec`` are more fields of the pod."""
    main = {"name": container, "image": "mpi", **spec.pop("first", {})}
    found: dict[str, Any] = {"template": {"spec": {"containers": [main], **spec}}}
    if replicas is not None:
        found["replicas"] = replicas
    if policy:
        found["restartPolicy"] = policy
    return found


def an_mpijob(version: str, name: str = "job", workers: int | None = 2, **spec: Any) -> dict[str, Any]:
    """A job with a launcher and workers, none when ``workers`` is None."""
    roles = {"Launcher": a_replica(1)} | ({} if workers is None else {"Worker": a_replica(workers)})
    body = {"mpiReplicaSpecs": roles, **spec}
    return {
        "apiVersion": f"kubeflow.org/{version}",
        "kind": "MPIJob",
        "metadata": {"name": name, "namespace": "default"},
        "spec": body,
    }


async def post(world: World, job: dict[str, Any]) -> Any:
    """Create it through its own version."""
    path = f"/apis/{job['apiVersion']}/namespaces/default/mpijobs"
    made = await world.client.request("POST", path, body=job)
    await world.settle()
    return made


async def fetch(world: World, version: str, name: str = "job") -> Any:
    """The object in that version."""
    return await world.client.request("GET", f"/apis/kubeflow.org/{version}/namespaces/default/mpijobs/{name}")


def types(status: Any) -> list[tuple[str, str]]:
    """Conditions in order."""
    return [(each["type"], each["status"]) for each in status["conditions"]]
