"""Runs whose artifacts are in a remote store: SeaweedFS, through the official SDK, on a running platform."""

import base64
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import kfp
import pytest
from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output
from tests.e2e.platforms import Platform, start_platform
from tests.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed

from ketch.metadata.stores.remote import RemoteObjectStore
from ketch.metadata.stores.table import Connection, Kind, Place

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]
NAMESPACE = "kubeflow"


@pytest.fixture(scope="module")
def stored(seaweed: Seaweed) -> Iterator[Platform]:
    """A platform whose pods may reach the store."""
    root = Path(tempfile.mkdtemp(prefix="ke-", dir="/tmp"))
    services = f"127.0.0.1:{seaweed.ports[3]},127.0.0.1:{seaweed.ports[2]}"
    allowed = [f"KETCH_HOST_SERVICES={services}", f"KETCH_HOST_PATHS={root}-open"]
    Path(f"{root}-open").mkdir()
    platform = start_platform(root, lambda command: ["env", *allowed, *command])
    providers = f"""
s3:
  overrides:
    - bucketName: artifacts
      endpoint: {seaweed.endpoint}
      credentials: {{secretRef: {{secretName: keys, accessKeyKey: access, secretKeyKey: secret}}}}
    - bucketName: closed
      endpoint: {seaweed.endpoint}
      credentials: {{secretRef: {{secretName: wrong, accessKeyKey: access, secretKeyKey: secret}}}}
"""
    platform.apply(
        secret("keys", SECRET_KEY),
        secret("wrong", "wrong"),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "kfp-launcher", "namespace": NAMESPACE},
            "data": {"providers": providers, "defaultPipelineRoot": "s3://artifacts/default"},
        },
    )
    yield platform
    platform.ketch("down")
    shutil.rmtree(root, ignore_errors=True)
    shutil.rmtree(f"{root}-open", ignore_errors=True)


def secret(name: str, value: str) -> dict[str, Any]:
    data = {"access": ACCESS_KEY, "secret": value}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }


@pytest.fixture(scope="module")
def client(stored: Platform) -> kfp.Client:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return kfp.Client(host=stored.address)


@pytest.fixture
def store(seaweed: Seaweed) -> RemoteObjectStore:
    connection = Connection(kind=Kind.S3, endpoint=seaweed.endpoint, path_style=True)
    credentials = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    return RemoteObjectStore((Place(scheme="s3", connection=connection, credentials=credentials),))


def start(client: kfp.Client, pipeline: Any, root: str | None = None, **arguments: Any) -> str:
    """The new run's id."""
    cached = bool(arguments.pop("cached", False))
    return client.create_run_from_pipeline_func(
        pipeline, arguments=arguments, pipeline_root=root, enable_caching=cached
    ).run_id


def ended(client: kfp.Client, run_id: str) -> Any:
    """The run, ended, and its tasks by name."""
    run = client.wait_for_run_completion(run_id, timeout=120, sleep_duration=0.2)
    return run, {task.display_name: task for task in run.run_details.task_details}


def run(client: kfp.Client, pipeline: Any, root: str | None = None, **arguments: Any) -> Any:
    """Both."""
    return ended(client, start(client, pipeline, root, **arguments))


@dsl.component(base_image="python:3.11")
def make(model: Output[Model], data: Output[Dataset], lines: int) -> str:
    import os  # noqa: PLC0415  # the function travels alone
    from pathlib import Path  # noqa: PLC0415

    assert not any("KETCH" in name or "AWS" in name for name in os.environ)
    Path(model.path).mkdir(parents=True)
    (Path(model.path) / "wéights").write_text("w" * lines)
    Path(data.path).write_text("x\n" * lines)
    model.metadata["lines"] = lines
    return model.uri


@dsl.component(base_image="python:3.11")
def use(model: Input[Model], data: Input[Dataset]) -> int:
    from pathlib import Path  # noqa: PLC0415  # the function travels alone

    assert model.metadata["lines"] == (Path(model.path) / "wéights").stat().st_size
    return len(Path(data.path).read_text().splitlines())


@dsl.pipeline(name="carried")
def carried(lines: int = 3):
    made = make(lines=lines)
    use(model=made.outputs["model"], data=made.outputs["data"])


async def test_a_root_in_s3(client: kfp.Client, stored: Platform, store: RemoteObjectStore):
    root = f"s3://artifacts/{uuid4()}"
    made, _ = run(client, carried, root, lines=4)
    assert made.state == "SUCCEEDED", made.error
    assert await store.exists(f"{root}/carried/{made.run_id}/make")
    pods = stored.get("pods", "-n", NAMESPACE, "-l", f"pipelines.kubeflow.org/run-id={made.run_id}")["items"]
    by_task = {pod["metadata"]["annotations"]["pipelines.kubeflow.org/task-path"]: pod for pod in pods}
    assert [each["name"] for each in by_task["root/make"]["spec"]["initContainers"]] == ["ketch-deliver"]
    assert [each["name"] for each in by_task["root/use"]["spec"]["initContainers"]] == ["ketch-fetch", "ketch-deliver"]
    assert not (stored.root / "objects" / "artifacts").exists()
    stored.kubectl("delete", "pods", "-n", NAMESPACE, "-l", f"pipelines.kubeflow.org/run-id={made.run_id}")
    task = next(task for task in made.run_details.task_details if task.display_name == "use")
    place = f"{root}/carried/{made.run_id}/use/{task.task_id}"
    assert b"KFP Executor" in (await store.read(f"{place}/executor-logs") or b"")
    logs = stored.ketch("runs", "logs", made.run_id, "use")
    assert "KFP Executor" in logs.stdout, logs.stderr


async def test_the_default_root_is_the_config_maps_and_caching_asks_the_store(
    client: kfp.Client, store: RemoteObjectStore
):
    first, _ = run(client, carried, lines=7, cached=True)
    assert first.runtime_config.pipeline_root == "s3://artifacts/default"
    assert first.state == "SUCCEEDED", first.error
    again, tasks = run(client, carried, lines=7, cached=True)
    assert {task.state for task in tasks.values()} <= {"SUCCEEDED", "SKIPPED", "CACHED"}
    assert not await store.exists(f"s3://artifacts/default/carried/{again.run_id}/make")
    await store.remove(f"s3://artifacts/default/carried/{first.run_id}/make")
    last, _ = run(client, carried, lines=7, cached=True)
    assert last.state == "SUCCEEDED", last.error
    assert await store.exists(f"s3://artifacts/default/carried/{last.run_id}/make")


@dsl.component(base_image="python:3.11")
def fails(data: Output[Dataset]):
    from pathlib import Path  # noqa: PLC0415  # the function travels alone

    Path(data.path).write_text("x")
    raise ValueError("the step's own reason")


@dsl.component(base_image="python:3.11")
def reads(data: Input[Artifact], expected: str):
    from pathlib import Path  # noqa: PLC0415  # the function travels alone

    assert Path(data.path).read_text() == expected
    assert "://" in data.uri


@dsl.container_component
def shell(data: Input[Artifact], out: Output[Dataset], text: dsl.OutputPath(str)):
    command = 'cp "$0" "$1" && cat "$0" > "$2"'
    return dsl.ContainerSpec(image="alpine", command=["sh", "-c", command], args=[data.path, out.path, text])


@dsl.pipeline(name="failing")
def failing():
    fails()


@dsl.pipeline(name="writing")
def writing():
    make(lines=1)


@dsl.pipeline(name="reading")
def reading(uri: str, expected: str = ""):
    imported = dsl.importer(artifact_uri=uri, artifact_class=Dataset, reimport=False).output
    reads(data=imported, expected=expected)
    copied = shell(data=imported)
    reads(data=copied.outputs["out"], expected=expected)


def failed_with(tasks: dict[str, Any], name: str) -> str:
    assert tasks[name].state == "FAILED"
    return tasks[name].error.message


def test_failures_are_told_in_words(client: kfp.Client):
    closed = start(client, reading, uri="file:///etc/hostname")  # may heal, and takes the longest
    _, tasks = run(client, failing, f"s3://artifacts/{uuid4()}")
    assert "ValueError: the step's own reason" in failed_with(tasks, "fails")
    _, tasks = run(client, writing, "s3://closed/root")
    message = failed_with(tasks, "make")
    assert "could not be uploaded: " in message
    assert "s3://closed/root/writing" in message
    assert "access denied" in message
    _, tasks = run(client, reading, uri="s3://closed/data.csv")
    assert "could not be fetched: fetching s3://closed/data.csv: access denied" in failed_with(tasks, "reads")
    _, tasks = run(client, reading, uri="oci://registry/model:1")
    assert "models in images (oci://) cannot be read here" in failed_with(tasks, "reads")
    _, tasks = run(client, reading, uri="s3://artifacts/never-there")
    assert "No such file" in failed_with(tasks, "reads")
    _, tasks = ended(client, closed)
    assert 'host path "/etc/hostname" is not open to pods' in failed_with(tasks, "reads")


@pytest.mark.parametrize("scheme", ["s3", "http", "file", "minio"])
@pytest.mark.parametrize("root", ["s3://artifacts/imports", "minio://mlpipeline/imports"])
async def test_imported_data_is_where_the_step_looks(
    client: kfp.Client, stored: Platform, store: RemoteObjectStore, seaweed: Seaweed, scheme: str, root: str
):
    name = f"data-{uuid4()}.csv"
    match scheme:
        case "s3":
            uri = f"s3://artifacts/{name}"
            await store.write(uri, scheme.encode())
        case "http":
            await store.write(f"s3://artifacts/{name}", scheme.encode())
            uri = f"http://host.ketch.internal:{seaweed.ports[2]}/buckets/artifacts/{name}"
        case "file":
            path = Path(f"{stored.root}-open") / name
            path.write_text(scheme)
            uri = f"file://{path}"
        case _:
            uri = f"minio://mlpipeline/{name}"
            path = stored.root / "objects/mlpipeline" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(scheme)
    done, tasks = run(client, reading, root, uri=uri, expected=scheme)
    assert done.state == "SUCCEEDED", {name: task.error for name, task in tasks.items()}


@dsl.component(base_image="python:3.11")
def in_workspace(data: Input[Artifact], expected: str):
    from pathlib import Path  # noqa: PLC0415  # the function travels alone

    assert data.path.startswith("/kfp-workspace/.artifacts/")
    assert Path(data.path).read_text() == expected


@dsl.pipeline(name="shared", pipeline_config=dsl.PipelineConfig(workspace=dsl.WorkspaceConfig(size="1Gi")))
def shared(web: str, bucket: str):
    for uri, expected in ((web, "from the web"), (bucket, "from a bucket")):
        imported = dsl.importer(
            artifact_uri=uri, artifact_class=Dataset, reimport=True, download_to_workspace=True
        ).output
        in_workspace(data=imported, expected=expected)


async def test_imports_into_the_workspace(client: kfp.Client, store: RemoteObjectStore, seaweed: Seaweed):
    name = uuid4()
    await store.write(f"s3://artifacts/{name}", b"from a bucket")
    await store.write(f"s3://artifacts/web-{name}", b"from the web")
    web = f"http://host.ketch.internal:{seaweed.ports[2]}/buckets/artifacts/web-{name}"
    done, tasks = run(client, shared, web=web, bucket=f"s3://artifacts/{name}")
    assert done.state == "SUCCEEDED", {name: task.error for name, task in tasks.items()}
