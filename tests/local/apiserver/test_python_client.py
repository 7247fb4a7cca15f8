"""The official ``kubernetes`` client for Python."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("kubernetes")
from kubernetes import client as official
from kubernetes import config, dynamic, watch


@pytest.fixture
def connection(served: Any) -> Iterator[Any]:
    made = config.new_client_from_config(str(served.kubeconfig))
    yield made
    made.rest_client.pool_manager.clear()
    made.close()


def deployment() -> Any:
    labels = {"app": "web"}
    container = official.V1Container(name="main", image="python:3.11")
    template = official.V1PodTemplateSpec(
        metadata=official.V1ObjectMeta(labels=labels), spec=official.V1PodSpec(containers=[container])
    )
    spec = official.V1DeploymentSpec(
        replicas=2, selector=official.V1LabelSelector(match_labels=labels), template=template
    )
    return official.V1Deployment(metadata=official.V1ObjectMeta(name="web"), spec=spec)


async def test_typed_calls(connection: Any) -> None:
    def run() -> None:
        apps = official.AppsV1Api(connection)
        made = apps.create_namespaced_deployment("default", deployment())
        assert made.metadata.uid
        apps.patch_namespaced_deployment_scale("web", "default", {"spec": {"replicas": 5}})
        assert apps.read_namespaced_deployment("web", "default").spec.replicas == 5
        made = apps.patch_namespaced_deployment_status("web", "default", {"status": {"replicas": 5}})
        assert made.status.replicas == 5
        assert [item.metadata.name for item in apps.list_deployment_for_all_namespaces().items] == ["web"]
        apps.delete_namespaced_deployment(
            "web", "default", body=official.V1DeleteOptions(propagation_policy="Background")
        )
        with pytest.raises(official.ApiException) as caught:
            apps.read_namespaced_deployment("web", "default")
        assert caught.value.status == 404

    await asyncio.to_thread(run)


async def test_pages_and_watches(connection: Any) -> None:
    def run() -> None:
        core = official.CoreV1Api(connection)
        for index in range(5):
            core.create_namespaced_config_map("default", {"metadata": {"name": f"c{index}"}, "data": {"n": str(index)}})
        page = core.list_namespaced_config_map("default", limit=3)
        rest = core.list_namespaced_config_map("default", limit=3, _continue=page.metadata._continue)
        assert [item.metadata.name for item in page.items + rest.items] == [f"c{index}" for index in range(5)]
        stream = watch.Watch().stream(core.list_namespaced_config_map, "default", timeout_seconds=1)
        assert [(event["type"], event["object"].metadata.name) for event in stream] == [
            ("ADDED", f"c{index}") for index in range(5)
        ]

    await asyncio.to_thread(run)


async def test_custom_objects_and_the_dynamic_client(connection: Any) -> None:
    names = {"plural": "trains", "singular": "train", "kind": "Train"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "trains.example.com"},
        "spec": spec,
    }
    train = {"apiVersion": "example.com/v1", "kind": "Train", "metadata": {"name": "t"}, "spec": {"line": "red"}}

    def run() -> None:
        made = official.ApiextensionsV1Api(connection).create_custom_resource_definition(definition)
        assert made.status.accepted_names.kind == "Train"
        custom = official.CustomObjectsApi(connection)
        custom.create_namespaced_custom_object("example.com", "v1", "default", "trains", train)
        found = custom.get_namespaced_custom_object("example.com", "v1", "default", "trains", "t")
        assert found["spec"] == {"line": "red"}
        trains = dynamic.DynamicClient(connection).resources.get(api_version="example.com/v1", kind="Train")
        applied = {**train, "spec": {"line": "blue"}}
        trains.server_side_apply(applied, namespace="default", field_manager="me", force_conflicts=True)
        assert trains.get(name="t", namespace="default").spec.line == "blue"

    await asyncio.to_thread(run)
