"""Jobs that must be refused, and in which words: one table for the API server in this process and a running platform.

Each is JSON as users write it. What is said is a Status: 422, reason Invalid, with the causes named here and no others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]
INVALID, REQUIRED = "FieldValueInvalid", "FieldValueRequired"
FORBIDDEN, UNSUPPORTED, DUPLICATE = "FieldValueForbidden", "FieldValueNotSupported", "FieldValueDuplicate"


@dataclass(frozen=True)
class Said:
    """One cause: its reason, its field, words of its message."""

    reason: str
    field: str
    words: str = ""


@dataclass(frozen=True)
class Refusal:
    """A wrong object; with ``change``, an object that is well and a merge patch of it that is not."""

    name: str
    wrong: JSON
    causes: Sequence[Said]
    change: JSON = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        return f"{self.wrong['kind']}: {self.name}"


REPLICAS: Mapping[str, tuple[str, str]] = {
    "TFJob": ("tfReplicaSpecs", "tensorflow"),
    "PyTorchJob": ("pytorchReplicaSpecs", "pytorch"),
    "XGBoostJob": ("xgbReplicaSpecs", "xgboost"),
    "PaddleJob": ("paddleReplicaSpecs", "paddle"),
    "JAXJob": ("jaxReplicaSpecs", "jax"),
}
LED = ("PyTorchJob", "XGBoostJob", "PaddleJob")
ELASTIC = ("PyTorchJob", "PaddleJob", "JAXJob")


def replica(kind: str, count: int | None = None, **container: Any) -> JSON:
    """So many processes of a kind."""
    main = {"name": REPLICAS[kind][1], "image": "busybox", "command": ["true"]} | container
    spec: JSON = {"template": {"spec": {"containers": [{key: item for key, item in main.items() if item is not None}]}}}
    return spec if count is None else spec | {"replicas": count}


def job(kind: str, name: str = "wrong", spec: JSON | None = None, **replicas: Any) -> JSON:
    """A job of kubeflow.org/v1; ``replicas`` are numbers or replicas' specs."""
    if not replicas:
        replicas = {"Master": 1} if kind in LED else {"Worker": 1}
    written = {role: replica(kind, each) if isinstance(each, int) else each for role, each in replicas.items()}
    body = {REPLICAS[kind][0]: {role: each for role, each in written.items() if each}} | (spec or {})
    return {"apiVersion": "kubeflow.org/v1", "kind": kind, "metadata": {"name": name}, "spec": body}


def jobset(*replicated: JSON, **spec: Any) -> JSON:
    """A JobSet."""
    body = {"replicatedJobs": list(replicated), **spec}
    return {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"name": "wrong"}, "spec": body}


def replicated(name: str, pods: int = 1, **more: Any) -> JSON:
    """A replicated job."""
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]}}
    template = {"spec": {"parallelism": pods, "completions": pods, "template": pod}}
    return {"name": name, "template": template, **more}


def trainjob(name: str = "wrong", runtime: str = "torch-distributed", **spec: Any) -> JSON:
    """A TrainJob."""
    body = {"runtimeRef": {"name": runtime}, **spec}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name},
        "spec": body,
    }


def step(ancestor: str, name: str, container: str, *mounts: str) -> JSON:
    """A replicated job of a runtime."""
    made = {
        "name": container,
        "image": "busybox",
        "volumeMounts": [{"name": each, "mountPath": "/w"} for each in mounts],
    }
    labels = {"trainer.kubeflow.org/trainjob-ancestor-step": ancestor} if ancestor else {}
    template = {"metadata": {"labels": labels}, "spec": {"template": {"spec": {"containers": [made]}}}}
    return {"name": name, "template": template}


def runtime(*steps: JSON, **spec: Any) -> JSON:
    """A TrainingRuntime."""
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainingRuntime",
        "metadata": {"name": "wrong"},
        "spec": {"template": {"spec": {"replicatedJobs": list(steps)}}, **spec},
    }


def _of_every_policy(kind: str) -> Sequence[Refusal]:
    """What is refused of a runPolicy."""
    policy = "spec.runPolicy"
    return (
        Refusal(
            "unknown clean-up",
            job(kind, spec={"runPolicy": {"cleanPodPolicy": "Some"}}),
            [Said(UNSUPPORTED, f"{policy}.cleanPodPolicy", '"Some"')],
        ),
        Refusal(
            "unknown manager",
            job(kind, spec={"runPolicy": {"managedBy": "me"}}),
            [Said(UNSUPPORTED, f"{policy}.managedBy", "kueue.x-k8s.io/multikueue")],
        ),
        Refusal(
            "a gang larger than the job",
            job(kind, spec={"runPolicy": {"schedulingPolicy": {"minAvailable": 2}}}),
            [Said(INVALID, f"{policy}.schedulingPolicy.minAvailable", "must not be more than the job's 1 replicas")],
        ),
        Refusal(
            "another queue",
            job(kind, spec={"runPolicy": {"schedulingPolicy": {"queue": "a"}}}),
            [Said(INVALID, f"{policy}.schedulingPolicy.queue", "field is immutable")],
            {"spec": {"runPolicy": {"schedulingPolicy": {"queue": "b"}}}},
        ),
        Refusal(
            "another manager",
            job(kind),
            [Said(INVALID, f"{policy}.managedBy", "field is immutable")],
            {"spec": {"runPolicy": {"managedBy": "kueue.x-k8s.io/multikueue"}}},
        ),
    )


def _of_every_kind(kind: str) -> Sequence[Refusal]:
    """What the framework refuses whatever the kind."""
    field_, container = REPLICAS[kind]
    role = "Master" if kind in LED else "Worker"
    path = f"spec.{field_}"
    main = f"{path}[{role}].template.spec.containers"
    lead = {"Master": 1} if kind == "XGBoostJob" else {}
    return (
        Refusal("no replicas", job(kind, **{role: {}}), [Said(REQUIRED, path, "at least one of")]),
        Refusal("unknown type", job(kind, Captain=1), [Said(UNSUPPORTED, f"{path}[Captain]", '"Captain"')]),
        Refusal(
            "one type twice", job(kind, Worker=1, WORKER=1, **lead), [Said(DUPLICATE, f"{path}[WORKER]", '"WORKER"')]
        ),
        Refusal(
            "no containers",
            job(kind, **{role: {"template": {"spec": {"containers": []}}}}),
            [Said(REQUIRED, main, "at least one container")],
        ),
        Refusal("no image", job(kind, **{role: replica(kind, image=None)}), [Said(REQUIRED, f"{main}[0].image")]),
        Refusal(
            "no container of the kind's name",
            job(kind, **{role: replica(kind, name="other")}),
            [Said(REQUIRED, main, f'must have at least one container with name "{container}"')],
        ),
        Refusal("a name with dots", job(kind, "a.b"), [Said(INVALID, "metadata.name", "a DNS-1035 label")]),
        Refusal(
            "a name that begins with a digit", job(kind, "1st"), [Said(INVALID, "metadata.name", "a letter first")]
        ),
        Refusal("too long a name", job(kind, "n" * 60), [Said(INVALID, "metadata.name", "characters too long")]),
        Refusal(
            "unknown restart policy",
            job(kind, **{role: replica(kind) | {"restartPolicy": "Sometimes"}}),
            [Said(UNSUPPORTED, f"{path}[{role}].restartPolicy", '"Sometimes"')],
        ),
        *_of_every_policy(kind),
    )


def _of_jobs() -> Sequence[Refusal]:
    """What only some kinds refuse."""
    elastic = "spec.elasticPolicy"
    return (
        *(
            Refusal(
                f"{count} masters",
                job(kind, Master=count, Worker=1),
                [Said(INVALID, f"spec.{REPLICAS[kind][0]}[Master].replicas", "there is exactly one Master")],
            )
            for kind in ("PyTorchJob", "XGBoostJob")
            for count in (0, 2)
        ),
        Refusal("no master", job("XGBoostJob", Worker=1), [Said(REQUIRED, "spec.xgbReplicaSpecs[Master]")]),
        Refusal(
            "chief and master",
            job("TFJob", Chief=1, Master=1),
            [Said(INVALID, "spec.tfReplicaSpecs", "more than 1 chief/master role found")],
        ),
        Refusal(
            "two chiefs", job("TFJob", Chief=2), [Said(INVALID, "spec.tfReplicaSpecs[Chief].replicas", "one Chief")]
        ),
        Refusal(
            "unknown success", job("TFJob", spec={"successPolicy": "Most"}), [Said(UNSUPPORTED, "spec.successPolicy")]
        ),
        Refusal(
            "elastic without workers",
            job("PyTorchJob", spec={"elasticPolicy": {"minReplicas": 1}}),
            [Said(REQUIRED, "spec.pytorchReplicaSpecs[Worker]", "an elastic job needs workers")],
        ),
        Refusal(
            "more at least than at most",
            job("PyTorchJob", Worker=1, spec={"elasticPolicy": {"minReplicas": 3, "maxReplicas": 2}}),
            [Said(INVALID, f"{elastic}.minReplicas", "must not be more than maxReplicas")],
        ),
        Refusal(
            "processes per node said twice",
            job("PyTorchJob", Worker=1, spec={"nprocPerNode": "2", "elasticPolicy": {"nProcPerNode": 2}}),
            [Said(INVALID, f"{elastic}.nProcPerNode", "set spec.nprocPerNode alone")],
        ),
        Refusal(
            "processes per node in words",
            job("PyTorchJob", spec={"nprocPerNode": "many"}),
            [Said(INVALID, "spec.nprocPerNode", "auto, cpu, gpu or a positive number")],
        ),
        Refusal(
            "unknown rendezvous",
            job("PyTorchJob", Worker=1, spec={"elasticPolicy": {"rdzvBackend": "post"}}),
            [Said(UNSUPPORTED, f"{elastic}.rdzvBackend", '"post"')],
        ),
        *(
            Refusal(f"{name} of {value}", job("JAXJob", spec={"runPolicy": {name: value}}), [Said(INVALID, path)])
            for name, value in (("backoffLimit", -1), ("ttlSecondsAfterFinished", -1), ("activeDeadlineSeconds", 0))
            for path in (f"spec.runPolicy.{name}",)
        ),
    )


def _of_jobsets() -> Sequence[Refusal]:
    """Names and order."""
    one = replicated("a")
    return (
        Refusal("empty", jobset(), [Said(REQUIRED, "spec.replicatedJobs", "at least one")]),
        Refusal("two of a name", jobset(one, one), [Said(DUPLICATE, "spec.replicatedJobs[1]", '"a"')]),
        Refusal(
            "names too long", jobset(replicated("a" * 60)), [Said(INVALID, "spec.replicatedJobs[0].name", "at most 63")]
        ),
        Refusal(
            "no name for a host",
            jobset(replicated("A_b")),
            [Said(INVALID, "spec.replicatedJobs[0].name", "lower case")],
        ),
        Refusal(
            "depends on what comes later",
            jobset(replicated("a", dependsOn=[{"name": "b", "status": "Ready"}]), replicated("b")),
            [Said(INVALID, "spec.replicatedJobs[0].dependsOn[0].name", "stands before this one")],
        ),
        Refusal(
            "depends on a state there is not",
            jobset(one, replicated("b", dependsOn=[{"name": "a", "status": "Begun"}])),
            [Said(UNSUPPORTED, "spec.replicatedJobs[1].dependsOn[0].status", '"Begun"')],
        ),
        Refusal(
            "two ways of order",
            jobset(
                one,
                replicated("b", dependsOn=[{"name": "a", "status": "Ready"}]),
                startupPolicy={"startupPolicyOrder": "InOrder"},
            ),
            [Said(FORBIDDEN, "spec.startupPolicy", "exclude each other")],
        ),
    )


def _of_jobset_policies() -> Sequence[Refusal]:
    """Who decides about success and failure."""
    one, rules = replicated("a"), "spec.failurePolicy.rules[0]"

    def ruled(**rule: Any) -> JSON:
        return jobset(one, failurePolicy={"rules": [{"action": "FailJobSet", **rule}]})

    return (
        Refusal(
            "success of nobody",
            jobset(one, successPolicy={"operator": "All", "targetReplicatedJobs": ["x"]}),
            [Said(INVALID, "spec.successPolicy.targetReplicatedJobs", "no such replicated job")],
        ),
        Refusal(
            "unknown operator",
            jobset(one, successPolicy={"operator": "Most"}),
            [Said(UNSUPPORTED, "spec.successPolicy.operator", '"Most"')],
        ),
        Refusal(
            "rule for nobody",
            ruled(targetReplicatedJobs=["x"]),
            [Said(INVALID, f"{rules}.targetReplicatedJobs", "no such replicated job")],
        ),
        Refusal(
            "rule for a reason that never comes",
            ruled(onJobFailureReasons=["BackofLimitExceeded"]),
            [Said(UNSUPPORTED, f"{rules}.onJobFailureReasons", "BackoffLimitExceeded")],
        ),
        Refusal(
            "rule with a broken pattern",
            ruled(onJobFailureMessagePatterns=["("]),
            [Said(INVALID, f"{rules}.onJobFailureMessagePatterns", "is no regular expression")],
        ),
        Refusal("unknown action", ruled(action="Panic"), [Said(UNSUPPORTED, f"{rules}.action", '"Panic"')]),
    )


def _of_jobset_places() -> Sequence[Refusal]:
    """Who leads and where, and what may change."""
    one = replicated("a")
    return (
        Refusal(
            "coordinator of nobody",
            jobset(one, coordinator={"replicatedJob": "x"}),
            [Said(INVALID, "spec.coordinator.replicatedJob", "no such replicated job")],
        ),
        Refusal(
            "coordinator beyond the last",
            jobset(one, coordinator={"replicatedJob": "a", "jobIndex": 1, "podIndex": 1}),
            [
                Said(INVALID, "spec.coordinator.jobIndex", "less than 1"),
                Said(INVALID, "spec.coordinator.podIndex", "less than 1"),
            ],
        ),
        Refusal(
            "subdomain that no host can have",
            jobset(one, network={"subdomain": "A_B"}),
            [Said(INVALID, "spec.network.subdomain", "lower case letters")],
        ),
        Refusal(
            "another template while it runs",
            jobset(one),
            [Said(FORBIDDEN, "spec.replicatedJobs", "while the JobSet is suspended")],
            {"spec": {"replicatedJobs": [replicated("a", 2)]}},
        ),
        Refusal(
            "another manager",
            jobset(one),
            [Said(INVALID, "spec.managedBy", "immutable")],
            {"spec": {"managedBy": "x.y/z"}},
        ),
    )


def _of_trainjobs() -> Sequence[Refusal]:
    def sources(**source: Any) -> JSON:
        return trainjob(initializer=source)

    return (
        Refusal("a name with dots", trainjob("a.b"), [Said(INVALID, "metadata.name", "DNS-1035")]),
        Refusal("too long a name", trainjob("n" * 64), [Said(INVALID, "metadata.name", "63 characters")]),
        Refusal("no runtime", trainjob(runtime=""), [Said(REQUIRED, "spec.runtimeRef.name")]),
        Refusal(
            "unknown runtime",
            trainjob(runtime="nowhere"),
            [Said(INVALID, "spec.runtimeRef.name", "there is no ClusterTrainingRuntime of this name")],
        ),
        Refusal(
            "unknown runtime of the namespace",
            trainjob(runtimeRef={"name": "torch-distributed", "kind": "TrainingRuntime"}),
            [Said(INVALID, "spec.runtimeRef.name", "there is no TrainingRuntime of this name")],
        ),
        Refusal(
            "unknown kind of runtime",
            trainjob(runtimeRef={"name": "torch-distributed", "kind": "Runtime"}),
            [Said(UNSUPPORTED, "spec.runtimeRef.kind", '"Runtime"')],
        ),
        *(
            Refusal(
                f"{name} from nowhere",
                sources(**{name: {"storageUri": "somewhere"}}),
                [Said(INVALID, f"spec.initializer.{name}.storageUri", "must be a URI")],
            )
            for name in ("dataset", "model")
        ),
        *(
            Refusal(
                f"its own {name}",
                trainjob(trainer={"env": [{"name": "FREE", "value": ""}, {"name": name, "value": "1"}]}),
                [Said(FORBIDDEN, "spec.trainer.env[1].name", f"{name} is set by the runtime")],
            )
            for name in ("PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT")
        ),
        *(
            Refusal(f"{name} of 0", trainjob(trainer={name: 0}), [Said(INVALID, f"spec.trainer.{name}")])
            for name in ("numNodes", "numProcPerNode")
        ),
        Refusal("deadline of 0", trainjob(activeDeadlineSeconds=0), [Said(INVALID, "spec.activeDeadlineSeconds")]),
        Refusal(
            "unknown manager", trainjob(managedBy="me"), [Said(UNSUPPORTED, "spec.managedBy", "trainjob-controller")]
        ),
    )


def _of_changed_trainjobs() -> Sequence[Refusal]:
    """What never changes, or not while it runs."""

    def changed(name: str, value: Any) -> Refusal:
        return Refusal(
            f"another {name}", trainjob(), [Said(INVALID, f"spec.{name}", "immutable")], {"spec": {name: value}}
        )

    return (
        changed("runtimeRef", {"name": "jax-distributed"}),
        changed("trainer", {"numNodes": 3}),
        changed("initializer", {"dataset": {"storageUri": "hf://a/b"}}),
        changed("activeDeadlineSeconds", 9),
        changed("managedBy", "kueue.x-k8s.io/multikueue"),
        Refusal(
            "patched while it runs",
            trainjob(),
            [Said(FORBIDDEN, "spec.runtimePatches", "while the job is suspended")],
            {"spec": {"runtimePatches": [{"manager": "me.example/x"}]}},
        ),
    )


def _of_runtimes() -> Sequence[Refusal]:
    jobs = "spec.template.spec.replicatedJobs"
    trainer = step("trainer", "node", "node")
    return (
        Refusal("nobody trains", runtime(step("", "node", "node")), [Said(REQUIRED, jobs, "trainjob-ancestor-step")]),
        Refusal(
            "no container that trains",
            runtime(step("trainer", "node", "main")),
            [Said(REQUIRED, f"{jobs}[0].template.spec.template.spec.containers", 'a container named "node"')],
        ),
        Refusal(
            "unknown step",
            runtime(trainer, step("cook", "cook", "cook")),
            [Said(UNSUPPORTED, f"{jobs}[1].template.metadata.labels", '"cook"')],
        ),
        *(
            refusal
            for kind in ("dataset-initializer", "model-initializer")
            for refusal in (
                Refusal(
                    f"{kind} without its container",
                    runtime(step(kind, kind, "main", "initializer"), trainer),
                    [
                        Said(
                            REQUIRED, f"{jobs}[0].template.spec.template.spec.containers", f'a container named "{kind}"'
                        )
                    ],
                ),
                Refusal(
                    f"{kind} under another name",
                    runtime(step(kind, "fetch", kind, "initializer"), trainer),
                    [Said(INVALID, f"{jobs}[0].name", f'must be "{kind}"')],
                ),
                Refusal(
                    f"{kind} without the volume",
                    runtime(step(kind, kind, kind), trainer),
                    [
                        Said(
                            REQUIRED,
                            f"{jobs}[0].template.spec.template.spec.containers[0].volumeMounts",
                            '"initializer"',
                        )
                    ],
                ),
            )
        ),
        Refusal(
            "two policies",
            runtime(trainer, mlPolicy={"torch": {}, "jax": {}}),
            [Said(INVALID, "spec.mlPolicy", "only one of the policies")],
        ),
        Refusal(
            "a gang scheduler that is not there",
            runtime(trainer, podGroupPolicy={"volcano": {}}),
            [Said(UNSUPPORTED, "spec.podGroupPolicy", "coscheduling")],
        ),
    )


REFUSALS: Sequence[Refusal] = (
    *(each for kind in REPLICAS for each in _of_every_kind(kind)),
    *_of_jobs(),
    *_of_jobsets(),
    *_of_jobset_policies(),
    *_of_jobset_places(),
    *_of_trainjobs(),
    *_of_changed_trainjobs(),
    *_of_runtimes(),
)
