"""Two ranks that train with DDP over gloo: as jobs on Ketch, and by bare ``torchrun`` from the same environment.

From the client's submit (or the start of torchrun) until both ranks are in the training function, and until the end is
known. In turn, so that what else the machine does is in all figures alike. Two pods are two nodes to torchrun, with an
agent each, which costs more than one with two ranks wherever they are: each way stands beside its own bare torchrun.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.platforms import Platform, running_platform
from benchmarks.sizes import scaled
from benchmarks.steps import load
from benchmarks.tables import median, show

ROUNDS = 5
RANKS = 2
LOOK = 0.02
PATIENCE = 600
IMAGE = "pytorch/pytorch"
BARE = {1: "bare torchrun, one node of two ranks", 2: "bare torchrun, two nodes of one rank"}
GROUP = ("kubeflow.org", "v1", "default", "pytorchjobs")
JOB_LABEL = "training.kubeflow.org/job-name"

SCRIPT = """
import os, time
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

torch.set_num_threads(1)
dist.init_process_group("gloo")
os.write(1, f"ENTERED {time.time()}\\n".encode())  # whole: two ranks share one output
model = DistributedDataParallel(torch.nn.Linear(32, 32))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(20):
    optimizer.zero_grad()
    model(torch.ones(8, 32)).square().mean().backward()
    optimizer.step()
dist.barrier()
dist.destroy_process_group()
os._exit(0)  # a thread of torch's gloo aborts one in twenty processes whose interpreter ends beside it
"""


class Taken(NamedTuple):
    """Seconds until all ranks trained, and until the end."""

    begun: float
    ended: float


def _job(name: str, pods: int) -> dict[str, Any]:
    """Both ranks, in one pod or in two."""
    container = {
        "name": "pytorch",
        "image": IMAGE,
        "command": ["torchrun", "/program/train.py"],
        "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
        "volumeMounts": [{"name": "program", "mountPath": "/program"}],
    }
    volumes = [{"name": "program", "configMap": {"name": "program"}}]
    replica = {"restartPolicy": "Never", "template": {"spec": {"containers": [container], "volumes": volumes}}}
    replicas = {"Master": replica} | ({"Worker": replica | {"replicas": pods - 1}} if pods > 1 else {})
    spec = {"nprocPerNode": str(RANKS // pods), "pytorchReplicaSpecs": replicas}
    return {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": name}, "spec": spec}


def _entered(log: str, started: float) -> list[float]:
    return [float(line.split()[1]) - started for line in log.splitlines() if line.startswith("ENTERED")]


def _ours(client: Any, name: str, pods: int) -> Taken:
    """One job through the official client of Kubernetes."""
    custom, core = client.CustomObjectsApi(), client.CoreV1Api()
    started, deadline = time.time(), time.monotonic() + PATIENCE
    custom.create_namespaced_custom_object(*GROUP, _job(name, pods))
    while True:
        conditions = custom.get_namespaced_custom_object(*GROUP, name).get("status", {}).get("conditions", [])
        if conditions and conditions[-1]["type"] in ("Succeeded", "Failed"):
            break
        if time.monotonic() > deadline:
            sys.exit(f"{name} has not ended within {PATIENCE} s: {conditions}")
        time.sleep(LOOK)
    ended = time.time() - started
    found = core.list_namespaced_pod("default", label_selector=f"{JOB_LABEL}={name}").items
    while any(pod.status.phase in ("Pending", "Running") for pod in found):  # the last words of the other pod
        time.sleep(LOOK)
        found = core.list_namespaced_pod("default", label_selector=f"{JOB_LABEL}={name}").items
    logs = [core.read_namespaced_pod_log(pod.metadata.name, "default") for pod in found]
    if conditions[-1]["type"] == "Failed":
        sys.exit(f"{name} has failed: {logs}")
    entered = [moment for log in logs for moment in _entered(log, started)]
    assert len(entered) == RANKS, logs
    custom.delete_namespaced_custom_object(*GROUP, name)
    return Taken(max(entered), ended)


def _bare(environment: Path, script: Path, nodes: int) -> Taken:
    """The same environment's torchrun, with nothing around it; each node has an agent, as each pod has."""
    command = [str(environment / "bin" / "python"), str(environment / "bin" / "torchrun")]
    command += ["--nproc-per-node", str(RANKS // nodes)]
    place = ["--standalone"] if nodes == 1 else ["--nnodes", str(nodes), "--master-port", str(_free_port())]
    started, agents = time.time(), []
    for rank in range(nodes):
        argv = [*command, *place, *(["--node-rank", str(rank)] if nodes > 1 else []), str(script)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        agents.append(subprocess.Popen(argv, env={**os.environ, "OMP_NUM_THREADS": "1"}, **pipes))
    said = [agent.communicate() for agent in agents]
    ended = time.time() - started
    if any(agent.returncode for agent in agents):
        sys.exit(f"torchrun has failed: {[error[-2000:] for _, error in said]}")
    return Taken(max(moment for log, _ in said for moment in _entered(log, started)), ended)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def _environment(platform: Platform) -> Path:
    """Where the platform has built what stands for the image."""
    folder = platform.directory / "environments"
    return next(path.parent.parent for path in folder.glob("*/bin/torchrun"))


def main() -> None:
    """Print the table."""
    from kubernetes import client, config

    before, folder = load(), Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp"))
    script = folder / "train.py"
    script.write_text(SCRIPT)
    with running_platform() as platform:
        config.load_kube_config(str(platform.kubeconfig))
        body = {"metadata": {"name": "program"}, "data": {"train.py": SCRIPT}}
        client.CoreV1Api().create_namespaced_config_map("default", body)
        _ours(client, "first", 1)  # builds the environment
        environment = _environment(platform)
        _bare(environment, script, 1)
        ways = {
            BARE[1]: lambda _: _bare(environment, script, 1),
            "Ketch, one pod of two ranks": lambda number: _ours(client, f"one-{number}", 1),
            BARE[2]: lambda _: _bare(environment, script, 2),
            "Ketch, two pods of one rank": lambda number: _ours(client, f"two-{number}", 2),
        }
        peers = dict(zip(ways, (BARE[1], BARE[1], BARE[2], BARE[2]), strict=True))
        taken: dict[str, list[Taken]] = {name: [] for name in ways}
        for number in range(scaled(ROUNDS)):
            for name, way in ways.items():
                taken[name].append(way(number))
    shutil.rmtree(folder, ignore_errors=True)
    whole = {name: median([each.ended for each in found]) for name, found in taken.items()}
    rows = [
        (
            name,
            f"{median([each.begun for each in found]):.2f}",
            f"{whole[name]:.2f}",
            f"{whole[name] - whole[peers[name]]:+.2f}",
            f"{whole[name] / whole[peers[name]]:.2f}",
        )
        for name, found in taken.items()
    ]
    columns = ("", "to all ranks training, s", "to the known end, s", "added to its peer, s", "x its peer")
    show(f"DDP on {RANKS} ranks over gloo, medians of {scaled(ROUNDS)} ({before})", columns, rows)
