"""The kinds: how the processes of each framework find each other, and when a job of it has succeeded. Pure.

Variables are those that upstream's Training Operator 1.9 sets; what reads them is named with each class.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from ketch.kube.causes import invalid, required
from ketch.kube.errors import Cause
from ketch.kube.types.containers import EnvVar, EnvVarSource, ObjectFieldSelector
from ketch.training.jobs.elasticity import autoscaling_of, bounds_of, check_elastic
from ketch.training.jobs.framework import ON_FAILURE, Autoscaling, Ends, Group, JobKind, variable
from ketch.training.jobs.mpi.exec import MPI
from ketch.training.jobs.types import (
    ElasticPolicy,
    JAXJob,
    PaddleJob,
    PyTorchJob,
    TFJob,
    XGBoostJob,
)

CHIEF, MASTER, PARAMETER_SERVER, WORKER, EVALUATOR = "Chief", "Master", "PS", "Worker", "Evaluator"

UNBUFFERED: Final = variable("PYTHONUNBUFFERED", "1")  # so that logs are live
OWN_STORE: Final = variable("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
"""Agents that share their store tell its address only in the first round: a worker that comes later never learns it."""

_AUTO_PROCESSES: Final = ("auto", "cpu", "gpu")


class PyTorch(JobKind[PyTorchJob]):
    """Read by torch.distributed (MASTER_*, WORLD_SIZE, RANK) and torchrun (PET_*)."""

    kind = PyTorchJob
    roles: ClassVar = (MASTER, WORKER)
    masters: ClassVar = (MASTER,)
    single: ClassVar = (MASTER,)
    container = "pytorch"
    port_name, port = "pytorchjob-port", 23456
    restart_policy = ON_FAILURE
    replicas_field, replicas_path = "pytorch_replica_specs", "pytorchReplicaSpecs"
    elastic_role = WORKER

    def environment(self, group: Group[PyTorchJob], role: str, index: int) -> Sequence[EnvVar]:
        """Static rendezvous with the master; elastic by torchrun's own."""
        spec = group.job.spec
        processes = self.processes_of(group.job)
        env = [UNBUFFERED]
        lead = group.of(MASTER)
        if lead is not None:
            address, port = group.host(MASTER, 0), self.port_of(lead)
            rank = index + (role == WORKER)
            env += [
                variable("MASTER_PORT", port),
                variable("PET_MASTER_PORT", port),
                variable("MASTER_ADDR", address),
                variable("PET_MASTER_ADDR", address),
                variable("WORLD_SIZE", group.total * (int(processes) if processes.isdigit() else 1)),
                variable("RANK", rank),
                variable("PET_NODE_RANK", rank),
            ]
        env.append(variable("PET_NPROC_PER_NODE", processes))
        elastic = spec.elastic_policy
        if elastic is None:
            return [*env, variable("PET_NNODES", group.total)]
        low, high = bounds_of(elastic, group.count(WORKER))
        return [*env, variable("PET_NNODES", f"{low}:{high}"), *self._rendezvous(group, elastic)]

    def processes_of(self, job: PyTorchJob) -> str:
        """Processes of each replica: a number, or what torchrun takes for one."""
        elastic = job.spec.elastic_policy
        older = elastic.n_proc_per_node if elastic is not None else None
        return job.spec.nproc_per_node or (_AUTO_PROCESSES[0] if older is None else str(older))

    def warn(self, job: PyTorchJob) -> Iterable[str]:
        """What upstream has called deprecated since 1.7."""
        if job.spec.elastic_policy is not None and job.spec.elastic_policy.n_proc_per_node is not None:
            yield "spec.elasticPolicy.nProcPerNode is deprecated: use spec.nprocPerNode"

    def is_elastic(self, group: Group[PyTorchJob]) -> bool:
        """With an elastic policy."""
        return group.job.spec.elastic_policy is not None

    def autoscaling(self, group: Group[PyTorchJob]) -> Autoscaling | None:
        """By the elastic policy's metrics."""
        return autoscaling_of(group.job.spec.elastic_policy, group.count(WORKER))

    def _rendezvous(self, group: Group[PyTorchJob], elastic: ElasticPolicy) -> Iterable[EnvVar]:
        workers = group.of(WORKER)
        yield OWN_STORE
        if elastic.standalone:
            yield variable("PET_STANDALONE", "")
        if elastic.rdzv_backend:
            yield variable("PET_RDZV_BACKEND", elastic.rdzv_backend)
        host = elastic.rdzv_host or group.host(WORKER, 0)
        port = elastic.rdzv_port or (self.port_of(workers) if workers else self.port)
        yield variable("PET_RDZV_ENDPOINT", f"{host}:{port}")
        if elastic.rdzv_id:
            yield variable("PET_RDZV_ID", elastic.rdzv_id)
        if elastic.rdzv_conf:
            yield variable("PET_RDZV_CONF", ",".join(f"{each.key}={each.value}" for each in elastic.rdzv_conf))
        if elastic.max_restarts is not None:
            yield variable("PET_MAX_RESTARTS", elastic.max_restarts)

    def succeeded(self, group: Group[PyTorchJob], ends: Ends) -> bool:
        """The master; else all workers, of an elastic job any."""
        if group.count(MASTER):
            return ends.all_of(group, MASTER)
        if group.job.spec.elastic_policy is not None:
            return ends.succeeded(WORKER) > 0
        return ends.all_of(group, WORKER)

    def check(self, job: PyTorchJob) -> Iterable[Cause]:
        """Processes per node and elasticity."""
        processes = job.spec.nproc_per_node
        if processes and processes not in _AUTO_PROCESSES and not (processes.isdigit() and int(processes) > 0):
            yield invalid("spec.nprocPerNode", processes, "must be auto, cpu, gpu or a positive number")
        elastic = job.spec.elastic_policy
        if elastic is None:
            return
        workers = {self.role_of(name) for name in job.spec.pytorch_replica_specs}
        if WORKER not in workers:
            yield required("spec.pytorchReplicaSpecs[Worker]", "an elastic job needs workers")
        if elastic.n_proc_per_node is not None and processes:
            yield invalid("spec.elasticPolicy.nProcPerNode", elastic.n_proc_per_node, "set spec.nprocPerNode alone")
        yield from check_elastic(elastic)


class TensorFlow(JobKind[TFJob]):
    """Read by tf.distribute (TF_CONFIG)."""

    kind = TFJob
    roles: ClassVar = (CHIEF, MASTER, PARAMETER_SERVER, WORKER, EVALUATOR)
    masters: ClassVar = (CHIEF, MASTER)
    single: ClassVar = (CHIEF, MASTER)
    dispensable: ClassVar = (CHIEF, MASTER)
    container = "tensorflow"
    port_name, port = "tfjob-port", 2222
    replicas_field, replicas_path = "tf_replica_specs", "tfReplicaSpecs"

    def environment(self, group: Group[TFJob], role: str, index: int) -> Sequence[EnvVar]:
        """The cluster as addresses by type; a job of one process needs none."""
        if group.total <= 1:
            return ()
        cluster: dict[str, Any] = {
            each.role.lower(): [self._address(group, each.role, number) for number in range(each.count)]
            for each in group.replicas
            if each.role != EVALUATOR and each.count
        }
        task: dict[str, Any] = {"type": role.lower(), "index": index}
        if group.job.spec.enable_dynamic_worker:
            sparse = {"sparseCluster": self._sparse(cluster, role, index), "task": task}
            return [variable("TF_CONFIG", json.dumps(sparse))]
        return [variable("TF_CONFIG", json.dumps({"cluster": cluster, "task": task, "environment": "cloud"}))]

    def _sparse(self, cluster: Mapping[str, list[str]], role: str, index: int) -> dict[str, Any]:
        """What one process must know where workers come and go: parameter servers, and itself."""
        known: dict[str, Any] = {}
        if servers := cluster.get(PARAMETER_SERVER.lower()):
            known["ps"] = servers if role != PARAMETER_SERVER else [servers[index]]
        if role != PARAMETER_SERVER and (others := cluster.get(role.lower())):
            known[role.lower()] = {str(index): others[index]}
        return known

    def _address(self, group: Group[TFJob], role: str, index: int) -> str:
        replicas = group.of(role)
        port = self.port_of(replicas) if replicas else self.port
        return f"{group.host(role, index)}.{group.namespace}.svc:{port}"

    def succeeded(self, group: Group[TFJob], ends: Ends) -> bool:
        """The chief or master; else the first worker, or all of them if the job says so."""
        for role in self.masters:
            if group.count(role):
                return ends.all_of(group, role)
        everyone = ends.all_of(group, WORKER)
        return everyone if group.job.spec.success_policy == "AllWorkers" else ends.first_succeeded or everyone

    def check(self, job: TFJob) -> Iterable[Cause]:
        """One leader at most."""
        written = {self.role_of(name) for name in job.spec.tf_replica_specs}
        if {CHIEF, MASTER} <= written:
            yield invalid("spec.tfReplicaSpecs", [CHIEF, MASTER], "more than 1 chief/master role found")


class XGBoost(JobKind[XGBoostJob]):
    """Read by users' rabit trackers (MASTER_*, RANK) and LightGBM (WORKER_*)."""

    kind = XGBoostJob
    roles: ClassVar = (MASTER, WORKER)
    masters: ClassVar = (MASTER,)
    single: ClassVar = (MASTER,)
    container = "xgboost"
    port_name, port = "xgboostjob-port", 9999
    replicas_field, replicas_path = "xgb_replica_specs", "xgbReplicaSpecs"

    def environment(self, group: Group[XGBoostJob], role: str, index: int) -> Sequence[EnvVar]:
        """Master, world, rank; with workers their addresses too."""
        lead, workers = group.of(MASTER), group.of(WORKER)
        env = [
            variable("MASTER_PORT", self.port_of(lead) if lead else self.port),
            variable("MASTER_ADDR", group.host(MASTER, 0)),
            variable("WORLD_SIZE", group.total),
            variable("RANK", index + (role == WORKER)),
            UNBUFFERED,
        ]
        if workers is not None and group.total > 1:
            addresses = ",".join(group.host(WORKER, number) for number in range(workers.count))
            env += [variable("WORKER_PORT", self.port_of(workers)), variable("WORKER_ADDRS", addresses)]
        return env

    def succeeded(self, group: Group[XGBoostJob], ends: Ends) -> bool:
        """The master."""
        return ends.all_of(group, MASTER)

    def check(self, job: XGBoostJob) -> Iterable[Cause]:
        """A master must be there."""
        if MASTER not in {self.role_of(name) for name in job.spec.xgb_replica_specs}:
            yield required("spec.xgbReplicaSpecs[Master]", "an XGBoostJob needs its Master")


class Paddle(JobKind[PaddleJob]):
    """Read by paddle.distributed.launch (PADDLE_*)."""

    kind = PaddleJob
    roles: ClassVar = (MASTER, WORKER)
    masters: ClassVar = (MASTER,)
    single: ClassVar = (MASTER,)
    container = "paddle"
    port_name, port = "master", 36543
    restart_policy = ON_FAILURE
    replicas_field, replicas_path = "paddle_replica_specs", "paddleReplicaSpecs"
    elastic_role = WORKER

    def environment(self, group: Group[PaddleJob], role: str, index: int) -> Sequence[EnvVar]:
        """Where the master is; the first process names its own address."""
        lead = group.of(MASTER) or group.of(WORKER)
        port = self.port_of(lead) if lead else self.port
        env = [UNBUFFERED, variable("PADDLE_JOB_ID", group.name), variable("PADDLE_NNODES", self._nodes(group))]
        if lead is not None and role == lead.role and index == 0:
            address = EnvVarSource(field_ref=ObjectFieldSelector(field_path="status.podIP"))
            env += [
                EnvVar(name="POD_IP_DUMMY", value_from=address),
                variable("PADDLE_MASTER", f"$(POD_IP_DUMMY):{port}"),
            ]
        else:
            env.append(variable("PADDLE_MASTER", f"{group.host(lead.role if lead else WORKER, 0)}:{port}"))
        if group.count(MASTER):
            env.append(variable("PADDLE_SERVER_NUM" if role == MASTER else "PADDLE_TRAINER_NUM", 1))
        return env

    def _nodes(self, group: Group[PaddleJob]) -> str:
        elastic = group.job.spec.elastic_policy
        if elastic is None:
            return str(group.total)
        low, high = bounds_of(elastic, group.count(WORKER))
        return f"{low}:{high}"

    def is_elastic(self, group: Group[PaddleJob]) -> bool:
        """With an elastic policy."""
        return group.job.spec.elastic_policy is not None

    def autoscaling(self, group: Group[PaddleJob]) -> Autoscaling | None:
        """By the elastic policy's metrics."""
        return autoscaling_of(group.job.spec.elastic_policy, group.count(WORKER))

    def check(self, job: PaddleJob) -> Iterable[Cause]:
        """Elasticity."""
        if job.spec.elastic_policy is not None:
            yield from check_elastic(job.spec.elastic_policy)

    def succeeded(self, group: Group[PaddleJob], ends: Ends) -> bool:
        """The master, else all workers."""
        return ends.all_of(group, MASTER if group.count(MASTER) else WORKER)


class JAX(JobKind[JAXJob]):
    """Read by users' ``jax.distributed.initialize`` (COORDINATOR_*, NUM_PROCESSES, PROCESS_ID)."""

    kind = JAXJob
    roles: ClassVar = (WORKER,)
    container = "jax"
    port_name, port = "jaxjob-port", 6666
    replicas_field, replicas_path = "jax_replica_specs", "jaxReplicaSpecs"
    elastic_role = WORKER

    def environment(self, group: Group[JAXJob], role: str, index: int) -> Sequence[EnvVar]:  # noqa: ARG002
        """The first process coordinates."""
        workers = group.of(WORKER)
        return [
            UNBUFFERED,
            variable("COORDINATOR_PORT", self.port_of(workers) if workers else self.port),
            variable("COORDINATOR_ADDRESS", group.host(WORKER, 0)),
            variable("NUM_PROCESSES", group.total),
            variable("PROCESS_ID", index),
        ]

    def succeeded(self, group: Group[JAXJob], ends: Ends) -> bool:
        """All."""
        return ends.all_of(group, WORKER)


KINDS: Final[Sequence[JobKind[Any]]] = (TensorFlow(), PyTorch(), XGBoost(), Paddle(), JAX(), MPI())
