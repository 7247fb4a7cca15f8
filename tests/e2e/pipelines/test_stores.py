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
    allowed = [f"KETCH_HOST_SERVICES=127.0.0.1:{seaweed.ports[3]}", f"KETCH_HOST_PATHS={root}-open"]
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


def run(client: kfp.Client, pipeline: Any, root: str | None = None, **arguments: Any) -> Any:
    """The run, ended, and its tasks by name."""
    made = client.create_run_from_pipeline_func(
        pipeline, arguments=arguments, pipeline_root=root, enable_caching=bool(arguments.pop("cached", False))
    )
    ended = client.wait_for_run_completion(made.run_id, timeout=120, sleep_duration=0.2)
    return ended, {task.display_name: task for task in ended.run_details.task_details}


@dsl.component(base_image="python:3.11")
def make(model: Output[Model], data: Output[Dataset], lines: int) -> str:
    import os

    assert not any("KETCH" in name or "AWS" in name for name in os.environ)
    os.makedirs(model.path)
    with open(os.path.join(model.path, "wéights"), "w") as file:
        file.write("w" * lines)
    with open(data.path, "w") as file:
        file.write("x\n" * lines)
    model.metadata["lines"] = lines
    return model.uri


@dsl.component(base_image="python:3.11")
def use(model: Input[Model], data: Input[Dataset]) -> int:
    import os

    return len(open(data.path).readlines()) + os.path.getsize(os.path.join(model.path, "wéights"))


@dsl.pipeline(name="carried")
def carried(lines: int = 3):
    made = make(lines=lines)
    use(model=made.outputs["model"], data=made.outputs["data"])


async def test_a_root_in_s3(client: kfp.Client, stored: Platform, store: RemoteObjectStore):
    root = f"s3://artifacts/{uuid4()}"
    ended, tasks = run(client, carried, root, lines=4)
    assert ended.state == "SUCCEEDED", ended.error
    assert await store.exists(f"{root}/carried/{ended.run_id}/make")
    pods = stored.get("pods", "-n", NAMESPACE, "-l", f"pipelines.kubeflow.org/run-id={ended.run_id}")["items"]
    by_task = {pod["metadata"]["annotations"]["pipelines.kubeflow.org/task-path"]: pod for pod in pods}
    assert [each["name"] for each in by_task["root/make"]["spec"]["initContainers"]] == ["ketch-deliver"]
    assert [each["name"] for each in by_task["root/use"]["spec"]["initContainers"]] == ["ketch-fetch", "ketch-deliver"]
    assert not (stored.root / "objects" / "artifacts").exists()
