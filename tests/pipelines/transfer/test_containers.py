"""What a pod gets whose data is elsewhere."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from ketch.kube.types.containers import ContainerState, ContainerStateTerminated, ContainerStatus
from ketch.kube.types.pods import Pod
from ketch.metadata.stores.table import Connection, Kind, Place
from ketch.pipelines.ir.spec import ComponentSpec, ContainerSpec, EnvVar
from ketch.pipelines.steps.layout import place_of
from ketch.pipelines.steps.placeholders import Names
from ketch.pipelines.steps.pods import pod_of
from ketch.pipelines.steps.step import PodProblem, Step, pod_name
from ketch.pipelines.transfer.containers import undelivered
from ketch.pipelines.transfer.sources import KUBEFLOW_MINIO, Carriage, SecretKey, Source
from ketch.pipelines.values import Artifact, Values

S3 = Source(
    Place(scheme="s3", connection=Connection(kind=Kind.S3, endpoint="http://s3:1")),
    {"access_key": SecretKey("aws", "id"), "secret_key": SecretKey("aws", "key")},
)
AZURE = Source(Place(scheme="az", connection=Connection(kind=Kind.AZURE, account="team")))
CARRIAGE = Carriage(sources=(S3, AZURE))


def a_pod(
    root: str,
    *inputs: str,
    carriage: Carriage = CARRIAGE,
    workspace: str = "",
    flags: Mapping[str, Any] | None = None,
    variables: Sequence[str] = (),
) -> Pod:
    artifacts = tuple(
        Artifact(id=uri, name="a", type="system.Dataset", uri=uri, metadata=flags or {}) for uri in inputs
    )
    step = Step(
        namespace="kubeflow",
        run_id="run",
        task_id="id",
        path="root/train",
        pod_name=pod_name("p-x1", "train", "id", 0),
        attempt=0,
        retries=False,
        service_account="",
        names=Names(pipeline_task_name="train"),
        place=place_of(root, "p", "run", ("train", "id"), 0),
        component=ComponentSpec(),
        container=ContainerSpec(
            image="python:3.11",
            args=("{{$.workspace_path}}",) if workspace else (),
            env=tuple(EnvVar(name=name, value="x") for name in variables),
        ),
        inputs=Values({}, {"a": artifacts}),
        carriage=carriage,
        workspace=workspace,
    )
    return pod_of(step, [uri for uri in inputs if uri.startswith("minio://")])


def mounts(pod: Pod) -> dict[str, list[str]]:
    spec = pod.spec
    return {
        each.name: [mount.mount_path for mount in each.volume_mounts]
        for each in (*spec.init_containers, *spec.containers)
    }


def test_what_is_here_is_mounted_and_nothing_is_carried() -> None:
    pod = a_pod("minio://b/root", "minio://b/data")
    assert pod.spec.init_containers == ()
    assert pod.spec.termination_grace_period_seconds is None
    assert mounts(pod) == {"main": ["/minio/b/root/p/run/train/id", "/minio/b/data"]}


def test_a_remote_root_is_delivered_and_remote_inputs_fetched() -> None:
    pod = a_pod("s3://b/root", "s3://b/data", "az://c/x y", "minio://b/here", "https://h/d.csv?a=$(X)")
    fetch, deliver = pod.spec.init_containers
    assert fetch.args == ("fetch", "s3://b/data", "az://c/x y", "https://h/d.csv?a=$$(X)")
    assert deliver.args == ("deliver", "s3://b/root/p/run/train/id", *fetch.args[1:])
    assert (fetch.restart_policy, deliver.restart_policy) == (None, "Always")
    assert deliver.startup_probe is not None
    assert pod.spec.termination_grace_period_seconds == CARRIAGE.grace_seconds
    tops = ["/s3", "/kfp-workspace/.artifacts/az:", "/kfp-workspace/.artifacts/https:"]
    assert mounts(pod) == {
        "ketch-fetch": tops,
        "ketch-deliver": tops,
        "main": [*tops, "/minio/b/here"],
    }
    assert all(volume.empty_dir or volume.csi for volume in pod.spec.volumes)


def test_only_the_carriers_know_credentials_and_none_by_value() -> None:
    pod = a_pod("s3://b/root", "s3://b/data")
    for container in pod.spec.init_containers:
        table, *credentials = container.env
        first, second = json.loads(table.value)
        assert {each.name for each in credentials} == set(first["credentials"].values())
        assert "credentials" not in second
        keys = {each.value_from.secret_key_ref.key for each in credentials if each.value_from}
        assert keys == {"id", "key"}
    (main,) = pod.spec.containers
    assert not any("KETCH" in item.name for item in main.env)


def test_where_the_environment_tells_the_steps_own_is_given_to_the_carriers() -> None:
    pod = a_pod("az://c/root", variables=("AZURE_CLIENT_ID", "MINE"))
    (deliver,) = pod.spec.init_containers
    assert [each.name for each in deliver.env if not each.name.startswith("KETCH_STORE")] == ["AZURE_CLIENT_ID"]
    pod = a_pod("s3://c/root", variables=("AWS_PROFILE",), carriage=Carriage(sources=(S3,)))
    assert not any(each.name == "AWS_PROFILE" for each in pod.spec.init_containers[0].env)


def test_a_local_root_with_remote_inputs_needs_no_sidecar() -> None:
    pod = a_pod("minio://b/root", "s3://b/data")
    (fetch,) = pod.spec.init_containers
    assert fetch.name == "ketch-fetch"
    assert pod.spec.termination_grace_period_seconds is None
    assert mounts(pod)["main"] == ["/s3", "/minio/b/root/p/run/train/id"]


def test_web_data_of_a_step_with_a_workspace_goes_there() -> None:
    pod = a_pod("minio://b/root", "https://h/x", workspace="claim")
    assert mounts(pod) == {
        "ketch-fetch": ["/kfp-workspace"],
        "main": ["/minio/b/root/p/run/train/id", "/kfp-workspace"],
    }
    pod = a_pod("minio://b/root", "https://h/x", workspace="claim", flags={"_kfp_workspace": True})
    assert pod.spec.init_containers == ()
    assert "/kfp-workspace" in mounts(pod)["main"]


def test_files_are_bound_read_only_and_never_from_elsewhere() -> None:
    pod = a_pod("minio://b/root", "file:///data/a%20b")
    volume = next(each for each in pod.spec.volumes if each.host_path)
    assert volume.host_path.path == "/data/a b"
    mount = next(each for each in pod.spec.containers[0].volume_mounts if each.name == volume.name)
    assert (mount.mount_path, mount.read_only) == ("/kfp-workspace/.artifacts/file:/data/a%20b", True)
    with pytest.raises(PodProblem, match="names another machine: write file:///path"):
        a_pod("minio://b/root", "file://server/data")


def test_images_as_models_are_refused_in_words() -> None:
    with pytest.raises(PodProblem, match=r"oci://r/m:1 is an image: .* import the model from a bucket"):
        a_pod("minio://b/root", "oci://r/m:1")


def test_a_root_that_is_nowhere_is_told() -> None:
    with pytest.raises(PodProblem, match="pipeline root of az://c/root"):
        a_pod("az://c/root", carriage=Carriage())


def test_a_cluster_carries_by_kubeflows_own_store() -> None:
    pod = a_pod("minio://mlpipeline/v2/artifacts", "minio://mlpipeline/x", carriage=Carriage(sources=(KUBEFLOW_MINIO,)))
    assert [each.name for each in pod.spec.init_containers] == ["ketch-fetch", "ketch-deliver"]
    assert all(volume.csi is None for volume in pod.spec.volumes)


@pytest.mark.parametrize(
    ("ended", "why"),
    [
        (None, "never ended"),
        (ContainerStateTerminated(exit_code=0), ""),
        (
            ContainerStateTerminated(exit_code=1, message="an output could not be uploaded: x\n"),
            "could not be uploaded: x",
        ),
        (ContainerStateTerminated(exit_code=137, reason="OOMKilled"), "not uploaded: OOMKilled 137"),
    ],
)
def test_the_sidecars_end_says_whether_the_outputs_are_whole(ended: ContainerStateTerminated | None, why: str) -> None:
    pod = a_pod("s3://b/root")
    status = ContainerStatus(
        name="ketch-deliver",
        state=ContainerState(terminated=ended),
        ready=False,
        restart_count=0,
        image="",
        image_id="",
    )
    pod = msgspec.structs.replace(
        pod, status=msgspec.structs.replace(pod.status, init_container_statuses=(status,) if ended else ())
    )
    found = undelivered(pod)
    assert (why in found) if why else not found
    assert undelivered(a_pod("minio://b/root")) == ""
