"""Clients nobody here wrote: kr8s, kubernetes-asyncio, lightkube, and an operator made with kopf."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import kubernetes_asyncio as other
import lightkube
import pytest
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap as LightConfigMap
from tests.local.apiserver.test_rules import DEFINITIONS, a_definition
from tests.waiting import eventually

from ketch.kube.transport import MERGE_PATCH

BOATS = "/apis/example.com/v1/namespaces/default/boats"


KR8S = """
import sys
import kr8s
from kr8s.objects import ConfigMap

api = kr8s.api(kubeconfig=sys.argv[1])
made = ConfigMap({"metadata": {"name": "a", "namespace": "default"}, "data": {"x": "1"}}, api=api)
made.create()
made.patch({"data": {"y": "2"}})
made.label(seen="yes")
found = list(api.get("configmaps", namespace="default", label_selector={"seen": "yes"}))
assert [dict(each.data) for each in found] == [{"x": "1", "y": "2"}], found
made.delete()
made.wait("delete", timeout=20)
assert not made.exists()
assert api.version()["major"] == "1"
"""


async def test_kr8s(served: Any) -> None:
    """In a process of its own: it leaves its connections open, and warns of servers newer than itself."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-c", KR8S, str(served.kubeconfig), stderr=asyncio.subprocess.PIPE
    )
    _, errors = await program.communicate()
    assert program.returncode == 0, errors.decode()


async def test_kubernetes_asyncio(served: Any) -> None:
    configuration = other.client.Configuration()
    await other.config.load_kube_config(str(served.kubeconfig), client_configuration=configuration)
    async with other.client.ApiClient(configuration) as connection:
        core = other.client.CoreV1Api(connection)
        await core.create_namespaced_config_map("default", {"metadata": {"name": "a"}, "data": {"x": "1"}})
        seen: list[tuple[str, str]] = []

        async def watch() -> None:
            async with other.watch.Watch() as watcher:
                async for event in watcher.stream(core.list_namespaced_config_map, "default", timeout_seconds=20):
                    seen.append((event["type"], event["object"].metadata.name))
                    if event["type"] == "DELETED":
                        return

        watching = asyncio.create_task(watch())
        await core.patch_namespaced_config_map("a", "default", {"data": {"x": "2"}})
        assert (await core.read_namespaced_config_map("a", "default")).data == {"x": "2"}
        await core.delete_namespaced_config_map("a", "default")
        await asyncio.wait_for(watching, 30)
        assert seen[-1] == ("DELETED", "a")
        with pytest.raises(other.client.ApiException) as caught:
            await core.read_namespaced_config_map("a", "default")
        assert caught.value.status == 404


async def test_lightkube(served: Any, ask: Any) -> None:
    await ask("POST", DEFINITIONS, a_definition({"properties": {"length": {"type": "integer"}}}))
    boats: Any = create_namespaced_resource("example.com", "v1", "Boat", "boats")
    client = lightkube.AsyncClient(lightkube.KubeConfig.from_file(str(served.kubeconfig)), field_manager="light")
    await client.apply(LightConfigMap(metadata=ObjectMeta(name="a", namespace="default"), data={"x": "1"}))
    assert [each.data async for each in client.list(LightConfigMap, namespace="default")] == [{"x": "1"}]
    boat = boats(metadata={"name": "b", "namespace": "default"}, spec={"length": 3})
    await client.create(boat)
    merge = lightkube.types.PatchType.MERGE
    await client.patch(boats, "b", {"spec": {"length": 4}}, namespace="default", patch_type=merge)
    assert (await client.get(boats, "b", namespace="default"))["spec"] == {"length": 4}
    async for kind, found in client.watch(boats, namespace="default", server_timeout=20):
        assert (kind, found["spec"]["length"]) == ("ADDED", 4)
        break
    await client.delete(boats, "b", namespace="default")
    await client.close()


OPERATOR = """
import kopf

@kopf.on.startup()
def configure(settings, **_):
    settings.posting.enabled = False
    settings.watching.server_timeout = 10

@kopf.on.create("example.com", "v1", "boats")
def created(spec, name, **_):
    return {"tonnage": spec["length"] * 10}

@kopf.on.update("example.com", "v1", "boats", field="spec.length")
def grew(old, new, patch, **_):
    patch.status["grew"] = f"{old} to {new}"

@kopf.on.delete("example.com", "v1", "boats")
def gone(name, **_):
    pass
"""


async def test_an_operator_made_with_kopf(served: Any, ask: Any, tmp_path: Path) -> None:
    await ask("POST", DEFINITIONS, a_definition({"properties": {"length": {"type": "integer"}}}))
    (tmp_path / "operator.py").write_text(OPERATOR)
    operator = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("kopf")), "run", "--standalone", "-n", "default"),
        str(tmp_path / "operator.py"),
        env={"KUBECONFIG": str(served.kubeconfig), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        await ask("POST", BOATS, {"metadata": {"name": "b"}, "spec": {"length": 3}})

        async def handled() -> bool:
            return (await ask("GET", f"{BOATS}/b")).get("status", {}).get("created") == {"tonnage": 30}

        async def followed() -> bool:
            return (await ask("GET", f"{BOATS}/b")).get("status", {}).get("grew") == "3 to 5"

        async def released() -> bool:
            return not (await ask("GET", BOATS))["items"]

        await eventually(handled, "the operator")
        await ask("PATCH", f"{BOATS}/b", {"spec": {"length": 5}}, content_type=MERGE_PATCH)
        await eventually(followed, "the operator's second step")
        await ask("DELETE", f"{BOATS}/b")
        await eventually(released, "the operator's farewell")
    finally:
        operator.terminate()
        await operator.communicate()
