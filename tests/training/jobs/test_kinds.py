"""What the processes of each kind are told, and when each kind has succeeded."""

import json

import pytest
from tests.training.jobs.builders import BY_NAME, a_job, a_replica, environment

from ketch.training.jobs.framework import Ends
from ketch.training.jobs.types import ReplicaStatus


def test_pytorch_with_a_master_is_told_of_a_static_rendezvous():
    job = a_job("PyTorchJob", Master=1, Worker=2, spec={"nprocPerNode": "2"})
    assert environment("PyTorchJob", job, "Worker", 1) == {
        "PYTHONUNBUFFERED": "1",
        "MASTER_ADDR": "job-master-0",
        "MASTER_PORT": "23456",
        "PET_MASTER_ADDR": "job-master-0",
        "PET_MASTER_PORT": "23456",
        "WORLD_SIZE": "6",
        "RANK": "2",
        "PET_NODE_RANK": "2",
        "PET_NPROC_PER_NODE": "2",
        "PET_NNODES": "3",
    }
    assert environment("PyTorchJob", job, "Master", 0)["RANK"] == "0"


def test_elastic_pytorch_meets_at_its_first_worker():
    elastic = {
        "minReplicas": 1,
        "maxReplicas": 3,
        "rdzvBackend": "c10d",
        "maxRestarts": 5,
        "rdzvConf": [{"key": "timeout", "value": "30"}, {"key": "a", "value": "b"}],
    }
    job = a_job("PyTorchJob", Worker=2, spec={"elasticPolicy": elastic})
    assert environment("PyTorchJob", job, "Worker", 1) == {
        "PYTHONUNBUFFERED": "1",
        "PET_NPROC_PER_NODE": "auto",
        "PET_NNODES": "1:3",
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "PET_RDZV_BACKEND": "c10d",
        "PET_RDZV_ENDPOINT": "job-worker-0:23456",
        "PET_RDZV_CONF": "timeout=30,a=b",
        "PET_MAX_RESTARTS": "5",
    }


def test_processes_per_node_may_stand_where_they_stood_once():
    job = a_job("PyTorchJob", Worker=2, spec={"elasticPolicy": {"minReplicas": 2, "nProcPerNode": 4}})
    assert environment("PyTorchJob", job, "Worker", 0)["PET_NPROC_PER_NODE"] == "4"


def test_a_port_that_the_container_names_is_the_port():
    ports = [{"name": "pytorchjob-port", "containerPort": 5000}]
    master = a_replica(BY_NAME["PyTorchJob"], 1, ports=ports)
    job = a_job("PyTorchJob", Master=master, Worker=1)
    assert environment("PyTorchJob", job, "Worker", 0)["MASTER_PORT"] == "5000"


def test_tensorflow_is_told_of_its_cluster_without_the_evaluator():
    job = a_job("TFJob", Chief=1, PS=1, Worker=2, Evaluator=1)
    config = json.loads(environment("TFJob", job, "Worker", 1)["TF_CONFIG"])
    assert config == {
        "cluster": {
            "chief": ["job-chief-0.default.svc:2222"],
            "ps": ["job-ps-0.default.svc:2222"],
            "worker": ["job-worker-0.default.svc:2222", "job-worker-1.default.svc:2222"],
        },
        "task": {"type": "worker", "index": 1},
        "environment": "cloud",
    }
    assert environment("TFJob", a_job("TFJob", Worker=1), "Worker", 0) == {}


def test_tensorflow_with_dynamic_workers_knows_servers_and_itself():
    job = a_job("TFJob", PS=1, Worker=2, spec={"enableDynamicWorker": True})
    config = json.loads(environment("TFJob", job, "Worker", 1)["TF_CONFIG"])
    assert config["sparseCluster"] == {
        "ps": ["job-ps-0.default.svc:2222"],
        "worker": {"1": "job-worker-1.default.svc:2222"},
    }


def test_xgboost_paddle_and_jax_are_told_of_master_and_world():
    boost = environment("XGBoostJob", a_job("XGBoostJob", Master=1, Worker=2), "Worker", 0)
    assert (boost["MASTER_ADDR"], boost["WORLD_SIZE"], boost["RANK"]) == ("job-master-0", "3", "1")
    assert boost["WORKER_ADDRS"] == "job-worker-0,job-worker-1"
    paddle = a_job("PaddleJob", Worker=2)
    assert environment("PaddleJob", paddle, "Worker", 0)["PADDLE_MASTER"] == "$(POD_IP_DUMMY):36543"
    assert environment("PaddleJob", paddle, "Worker", 1)["PADDLE_MASTER"] == "job-worker-0:36543"
    assert environment("JAXJob", a_job("JAXJob", Worker=2), "Worker", 1) == {
        "PYTHONUNBUFFERED": "1",
        "COORDINATOR_ADDRESS": "job-worker-0",
        "COORDINATOR_PORT": "6666",
        "NUM_PROCESSES": "2",
        "PROCESS_ID": "1",
    }


@pytest.mark.parametrize(
    ("kind", "roles", "ended", "first", "success"),
    [
        pytest.param("PyTorchJob", {"Master": 1, "Worker": 1}, {"Master": 1}, False, True, id="pytorch: the master"),
        pytest.param("PyTorchJob", {"Master": 1, "Worker": 1}, {"Worker": 1}, True, False, id="pytorch: workers alone"),
        pytest.param("PyTorchJob", {"Worker": 2}, {"Worker": 1}, True, False, id="pytorch: one of two workers"),
        pytest.param("PyTorchJob", {"Worker": 2}, {"Worker": 2}, True, True, id="pytorch: all workers"),
        pytest.param("TFJob", {"Worker": 2}, {"Worker": 1}, True, True, id="tensorflow: the first worker"),
        pytest.param("TFJob", {"Worker": 2}, {"Worker": 1}, False, False, id="tensorflow: another worker"),
        pytest.param("TFJob", {"Chief": 1, "Worker": 2}, {"Worker": 2}, True, False, id="tensorflow: not the chief"),
        pytest.param("XGBoostJob", {"Master": 1, "Worker": 2}, {"Master": 1}, False, True, id="xgboost: the master"),
        pytest.param("PaddleJob", {"Worker": 2}, {"Worker": 2}, True, True, id="paddle: all workers"),
        pytest.param("JAXJob", {"Worker": 2}, {"Worker": 1}, True, False, id="jax: one of two"),
    ],
)
def test_success_is_what_the_kind_says(kind: str, roles: dict, ended: dict, first: bool, success: bool):
    group = BY_NAME[kind].understand(a_job(kind, **roles))
    ends = Ends({role: ReplicaStatus(succeeded=count) for role, count in ended.items()}, first)
    assert BY_NAME[kind].succeeded(group, ends) is success


def test_types_are_read_in_any_case():
    group = BY_NAME["PyTorchJob"].understand(a_job("PyTorchJob", master=1, WORKER=2))
    assert [(each.role, each.count, each.restart_policy) for each in group.replicas] == [
        ("Master", 1, "OnFailure"),
        ("Worker", 2, "OnFailure"),
    ]
