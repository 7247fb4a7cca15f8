"""Jobs of every kind while programs of the platform are killed: no process is started twice, all come to their end."""

import os
import signal
from typing import Any

import pytest
from kubernetes import config as kubernetes_config
from tests.e2e.platforms import Platform, eventually
from tests.e2e.training.worlds import World, stable_name
from tests.training.refusals import LED, REPLICAS, job, jobset, replica, replicated, runtime, step, trainjob

pytestmark = pytest.mark.e2e

PATIENCE = 120
WAITS = ["sh", "-c", "until getent hosts sign; do sleep 0.2; done; echo ended"]
SIGN = ("create", "service", "clusterip", "sign", "--tcp=1")
GOOD_ENDS = ("Succeeded", "Completed", "Complete")


def jobs() -> list[dict[str, Any]]:
    """One of each kind, all of whose processes wait for a sign."""
    found = []
    for kind in REPLICAS:
        roles = {"Master": 1, "Worker": 1} if kind in LED else {"Worker": 2}
        replicas = {role: replica(kind, count, command=WAITS) for role, count in roles.items()}
        found.append(job(kind, kind.lower(), {"runPolicy": {"cleanPodPolicy": "None"}}, **replicas))
    waiting = replicated("a", 2)
    node = step("trainer", "node", "node")
    for each in (waiting, node):
        each["template"]["spec"]["template"]["spec"]["containers"][0]["command"] = WAITS
    found += [jobset(waiting), runtime(node, mlPolicy={"numNodes": 2}), trainjob(runtime="", name="trainjob")]
    found[-3]["metadata"]["name"] = "jobset"
    found[-1]["spec"]["runtimeRef"] = {"name": "wrong", "kind": "TrainingRuntime"}
    return found


def kill(platform: Platform, process: str) -> None:
    pid = platform.pid(process)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: platform.record()["processes"][process]["pid"] not in (pid, None), PATIENCE, f"{process} again")
    platform.pid(process)


@pytest.mark.timeout(400)
def test_no_process_starts_twice_and_every_job_ends_well(own_platform: Platform):
    api = kubernetes_config.new_client_from_config(str(own_platform.kubeconfig))
    world, started = World(api, "default"), jobs()
    count = 2 * (len(started) - 1)

    def identities() -> dict[str, tuple[str, str]]:
        """Pods that run, and their containers."""
        return {
            stable_name(pod): (pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["containerID"])
            for pod in world.all("pod")
            if pod["status"].get("phase") == "Running"
        }

    def told() -> dict[str, set[str]]:
        """What holds of each job."""
        kinds = [each["kind"].lower() for each in started if each["kind"] != "TrainingRuntime"]
        objects = ((kind, world.all(kind)[0].get("status", {}).get("conditions", [])) for kind in kinds)
        return {kind: {each["type"] for each in held if each["status"] == "True"} for kind, held in objects}

    own_platform.apply(*started, namespace="default")
    eventually(lambda: len(identities()) == count, PATIENCE, "all processes run")
    before = identities()
    kill(own_platform, "control-plane")
    eventually(lambda: identities() == before, PATIENCE, "the control plane finds them again")
    kill(own_platform, "node-agent")
    kill(own_platform, "control-plane")
    own_platform.kubectl(*SIGN)
    eventually(lambda: all(types & set(GOOD_ENDS) for types in told().values()), PATIENCE, "all jobs end well")
    assert not any("Failed" in types for types in told().values())
    after = {stable_name(pod): pod for pod in world.all("pod")}
    assert {name: pod["metadata"]["uid"] for name, pod in after.items()} == {
        name: uid for name, (uid, _) in before.items()
    }
    statuses = [pod["status"]["containerStatuses"][0] for pod in after.values()]
    assert {each["restartCount"] for each in statuses} == {0}
    assert {world.log(pod).splitlines()[-1] for pod in after.values()} == {"ended"}
