"""The laws of client and transport, over every transport there is, against the real API server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import msgspec
import pytest

from ketch.kube.client import Client, DeleteOptions
from ketch.kube.config import load_config
from ketch.kube.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Gone,
    Invalid,
    MethodNotAllowed,
    NotFound,
    TransportError,
    UnsupportedMedia,
)
from ketch.kube.http import HTTPTransport
from ketch.kube.meta import ObjectMeta
from ketch.kube.rest import RESTClient
from ketch.kube.transport import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, Transport
from ketch.kube.types.apps import Deployment, DeploymentSpec
from ketch.kube.types.containers import Container
from ketch.kube.types.core import ConfigMap, Namespace, Node, Pod, PodSpec, PodTemplateSpec

DEADLINE = 10


def config_map(name="a", **data):
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


def labelled(name, labels):
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default", labels=labels))


def a_pod(name="p", node=""):
    spec = PodSpec(containers=(Container(name="c", image="busybox"),), node_name=node)
    return Pod(metadata=ObjectMeta(name=name, namespace="default"), spec=spec)


async def next_of(events):
    async with asyncio.timeout(DEADLINE):
        return await anext(events)


async def next_change(events):
    """The next event that is no bookmark."""
    while (event := await next_of(events)).type == "BOOKMARK":
        pass
    return event


async def eventually(ask, answer):
    async with asyncio.timeout(DEADLINE):
        while await ask() != answer:
            pass


class ClientContract:
    """Subclasses say how to connect; every test may connect as often as it likes."""

    @pytest.fixture
    async def connect(self) -> Callable[[], Transport]:
        raise NotImplementedError

    @pytest.fixture
    async def client(self, connect) -> AsyncIterator[Client]:
        client = RESTClient(connect())
        yield client
        await client.close()

    # objects --------------------------------------------------------------------------------------------------

    async def test_what_is_created_can_be_got(self, client):
        created = await client.create(config_map(key="value"))
        assert created.metadata.uid
        assert created.metadata.resource_version
        assert await client.get(ConfigMap, "a", "default") == created

    async def test_a_taken_name(self, client):
        await client.create(config_map())
        with pytest.raises(AlreadyExists) as caught:
            await client.create(config_map())
        assert caught.value.details.name == "a"

    async def test_an_absent_object(self, client):
        with pytest.raises(NotFound) as caught:
            await client.get(ConfigMap, "a", "default")
        assert caught.value.details.name == "a"
        with pytest.raises(NotFound):
            await client.delete(ConfigMap, "a", "default")

    async def test_an_absent_namespace(self, client):
        with pytest.raises(NotFound):
            await client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="nowhere")))

    @pytest.mark.parametrize("name", ["", "a/status", "..", "."])
    async def test_names_that_lead_elsewhere_are_refused(self, client, name):
        with pytest.raises(BadRequest):
            await client.get(ConfigMap, name, "default")
        with pytest.raises(BadRequest):
            await client.delete(ConfigMap, name, "default")

    async def test_texts_of_all_kinds_arrive_unchanged(self, client):
        data = {"plus": "a+b &c=d%20", "unicode": "é ∀ 🙂", "lines": "a\nb\r\n"}
        await client.create(config_map(**data))
        assert (await client.get(ConfigMap, "a", "default")).data == data

    async def test_an_invalid_object_names_its_fields(self, client):
        with pytest.raises(Invalid) as caught:
            await client.create(Pod(metadata=ObjectMeta(name="p", namespace="default")))
        assert any("spec.containers" in cause.field for cause in caught.value.causes)

    async def test_a_dry_run_keeps_nothing(self, client):
        await client.create(config_map(), dry_run=True)
        with pytest.raises(NotFound):
            await client.get(ConfigMap, "a", "default")

    async def test_generated_names_differ(self, client):
        wanted = ConfigMap(metadata=ObjectMeta(generate_name="run-", namespace="default"))
        first, second = await client.create(wanted), await client.create(wanted)
        assert first.metadata.name.startswith("run-")
        assert first.metadata.name != second.metadata.name

    # lists ----------------------------------------------------------------------------------------------------

    async def test_pages_make_up_the_list(self, client):
        for number in range(5):
            await client.create(labelled(f"m{number}", {"set": "x"}))
        names, token = [], ""
        while True:
            page = await client.list(ConfigMap, "default", label_selector="set=x", limit=2, continue_token=token)
            assert len(page.items) <= 2
            names += [item.metadata.name for item in page.items]
            token = page.continue_token
            if not token:
                break
        assert names == [f"m{number}" for number in range(5)]

    async def test_a_nonsense_continue_token(self, client):
        with pytest.raises((BadRequest, Gone)):
            await client.list(ConfigMap, "default", limit=1, continue_token="nonsense")

    @pytest.mark.parametrize(
        ("selector", "expected"),
        [
            ("app=web", ["w1", "w2"]),
            ("app in (web, db),!old", ["d", "w2"]),
            ("app,app!=db", ["w1", "w2"]),
            ("app notin (web),app", ["d"]),
        ],
    )
    async def test_label_selectors(self, client, selector, expected):
        await client.create(labelled("w1", {"app": "web", "old": ""}))
        await client.create(labelled("w2", {"app": "web"}))
        await client.create(labelled("d", {"app": "db"}))
        found = await client.list(ConfigMap, "default", label_selector=selector)
        assert [item.metadata.name for item in found.items] == expected

    async def test_field_selectors(self, client):
        await client.create(a_pod("here", "node-1"))
        await client.create(a_pod("there", "node-2"))
        found = await client.list(Pod, field_selector="spec.nodeName=node-1")
        assert [item.metadata.name for item in found.items] == ["here"]
        with pytest.raises(BadRequest):
            await client.list(Pod, field_selector="spec.colour=blue")

    async def test_lists_of_all_namespaces(self, client):
        await client.create(Namespace(metadata=ObjectMeta(name="other")))
        await client.create(labelled("a", {"set": "x"}))
        await client.create(ConfigMap(metadata=ObjectMeta(name="b", namespace="other", labels={"set": "x"})))
        found = await client.list(ConfigMap, label_selector="set=x")
        assert sorted(str(item.key) for item in found.items) == ["default/a", "other/b"]

    # updates and patches --------------------------------------------------------------------------------------

    async def test_an_update_on_old_knowledge_conflicts(self, client):
        old = await client.create(config_map(a="1"))
        new = await client.update(msgspec.structs.replace(old, data={"a": "2"}))
        assert new.metadata.resource_version != old.metadata.resource_version
        with pytest.raises(Conflict):
            await client.update(msgspec.structs.replace(old, data={"a": "3"}))
        assert (await client.get(ConfigMap, "a", "default")).data == {"a": "2"}

    async def test_a_json_patch(self, client):
        await client.create(config_map(a="1"))
        steps = [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "add", "path": "/data/b", "value": "2"}]
        patched = await client.patch(ConfigMap, "a", "default", steps, content_type=JSON_PATCH)
        assert patched.data == {"a": "1", "b": "2"}

    async def test_a_merge_patch_removes_by_null(self, client):
        await client.create(config_map(a="1", b="2"))
        patch = {"data": {"a": None, "c": "3"}}
        patched = await client.patch(ConfigMap, "a", "default", patch, content_type=MERGE_PATCH)
        assert patched.data == {"b": "2", "c": "3"}

    async def test_a_strategic_patch_merges_lists_by_key(self, client):
        await client.create(a_deployment("d", "c", "one"))
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "two"}]}}}}
        patched = await client.patch(Deployment, "d", "default", patch, content_type=STRATEGIC_MERGE_PATCH)
        assert {each.name for each in patched.spec.template.spec.containers} == {"c", "side"}

    async def test_an_unknown_patch_type(self, client):
        await client.create(config_map())
        with pytest.raises(UnsupportedMedia):
            await client.patch(ConfigMap, "a", "default", {}, content_type="application/x-patch")

    async def test_a_verb_that_is_not_there(self, client):
        with pytest.raises(MethodNotAllowed):
            await client.request("PUT", "/api/v1/namespaces/default/configmaps", body={})

    # apply ----------------------------------------------------------------------------------------------------

    async def test_apply_creates_and_repeats_without_writing(self, client):
        first = await client.apply(config_map(a="1"), manager="me")
        again = await client.apply(config_map(a="1"), manager="me")
        assert again.metadata.resource_version == first.metadata.resource_version

    async def test_a_field_no_longer_applied_goes(self, client):
        await client.apply(config_map(a="1", b="2"), manager="me")
        assert (await client.apply(config_map(a="1"), manager="me")).data == {"a": "1"}

    async def test_managers_own_their_fields_side_by_side(self, client):
        await client.apply(config_map(a="1"), manager="me")
        await client.apply(config_map(b="2"), manager="you")
        assert (await client.get(ConfigMap, "a", "default")).data == {"a": "1", "b": "2"}
        await client.apply(config_map(), manager="you")
        assert (await client.get(ConfigMap, "a", "default")).data == {"a": "1"}

    async def test_anothers_field_conflicts_unless_forced(self, client):
        await client.apply(config_map(a="1"), manager="me")
        with pytest.raises(Conflict) as caught:
            await client.apply(config_map(a="2"), manager="you", force=False)
        assert any("data.a" in cause.field for cause in caught.value.causes)
        assert (await client.apply(config_map(a="2"), manager="you")).data == {"a": "2"}

    async def test_what_was_read_can_be_applied_again(self, client):
        read = await client.create(config_map(a="1"))
        changed = msgspec.structs.replace(read, data={"a": "1", "b": "2"})
        assert (await client.apply(changed, manager="me")).data == {"a": "1", "b": "2"}

    async def test_what_was_read_is_not_applied_to_a_namesake(self, client):
        old = await client.create(a_pod())
        await client.delete(Pod, "p", "default", DeleteOptions(grace_period_seconds=0))
        with pytest.raises(Conflict):
            await client.apply(old, manager="me")
        await client.create(a_pod())
        told = msgspec.structs.replace(old, status=msgspec.structs.replace(old.status, phase="Failed"))
        with pytest.raises((Conflict, Invalid)):
            await client.apply_status(told, manager="me")
        with pytest.raises((Conflict, Invalid)):
            await client.apply(old, manager="me")

    async def test_apply_needs_a_manager(self, client):
        body = config_map().to_json()
        with pytest.raises(BadRequest):
            await client.patch(ConfigMap, "a", "default", body, content_type=APPLY_PATCH)

    # status ---------------------------------------------------------------------------------------------------

    async def test_status_and_the_rest_are_written_apart(self, client):
        created = await client.create(a_pod())
        status = msgspec.structs.replace(created.status, phase="Running")
        spec = msgspec.structs.replace(created.spec, termination_grace_period_seconds=1)
        told = await client.update_status(msgspec.structs.replace(created, spec=spec, status=status))
        assert told.status.phase == "Running"
        assert told.spec == created.spec
        labels = msgspec.structs.replace(told.metadata, labels={"a": "b"})
        kept = await client.update(msgspec.structs.replace(told, metadata=labels, status=created.status))
        assert kept.status.phase == "Running"

    async def test_an_applied_status_repeats_without_writing(self, client):
        created = await client.create(a_pod())
        wanted = Pod(metadata=created.metadata, status=msgspec.structs.replace(created.status, phase="Failed"))
        told = await client.apply_status(wanted, manager="node")
        assert (told.status.phase, told.spec) == ("Failed", created.spec)
        again = await client.apply_status(wanted, manager="node")
        assert again.metadata.resource_version == told.metadata.resource_version

    # deletion -------------------------------------------------------------------------------------------------

    async def test_preconditions_of_a_deletion(self, client):
        created = await client.create(config_map())
        with pytest.raises(Conflict):
            await client.delete(ConfigMap, "a", "default", DeleteOptions(uid="another"))
        with pytest.raises(Conflict):
            await client.delete(ConfigMap, "a", "default", DeleteOptions(resource_version="1"))
        await client.delete(ConfigMap, "a", "default", DeleteOptions(uid=created.metadata.uid))
        with pytest.raises(NotFound):
            await client.get(ConfigMap, "a", "default")

    async def test_finalizers_hold_an_object(self, client):
        metadata = ObjectMeta(name="a", namespace="default", finalizers=("example.com/hold",))
        await client.create(ConfigMap(metadata=metadata))
        await client.delete(ConfigMap, "a", "default")
        held = await client.get(ConfigMap, "a", "default")
        assert held.metadata.deletion_timestamp
        freed = msgspec.structs.replace(held.metadata, finalizers=())
        await client.update(msgspec.structs.replace(held, metadata=freed))
        with pytest.raises(NotFound):
            await client.get(ConfigMap, "a", "default")

    async def test_a_running_pod_is_given_its_grace(self, client):
        await client.create(a_pod(node="node-1"))
        await client.delete(Pod, "p", "default", DeleteOptions(grace_period_seconds=7))
        assert (await client.get(Pod, "p", "default")).metadata.deletion_grace_period_seconds == 7
        await client.delete(Pod, "p", "default", DeleteOptions(grace_period_seconds=0))
        with pytest.raises(NotFound):
            await client.get(Pod, "p", "default")

    async def test_a_collection_is_deleted_by_selector(self, client):
        await client.create(labelled("a", {"set": "x"}))
        await client.create(labelled("b", {"set": "y"}))
        await client.delete_collection(ConfigMap, "default", label_selector="set=x")
        found = await client.list(ConfigMap, "default", label_selector="set")
        assert [item.metadata.name for item in found.items] == ["b"]

    # watches --------------------------------------------------------------------------------------------------

    async def test_a_watch_brings_what_happens_after_a_list(self, client):
        await client.create(labelled("before", {"set": "x"}))
        version = (await client.list(ConfigMap, "default")).resource_version
        async with client.watch(ConfigMap, "default", resource_version=version, label_selector="set=x") as events:
            created = await client.create(labelled("a", {"set": "x"}))
            await client.create(labelled("other", {"set": "y"}))
            await client.update(msgspec.structs.replace(created, data={"k": "v"}))
            await client.delete(ConfigMap, "a", "default")
            seen = [await next_change(events) for _ in range(3)]
        assert [event.type for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
        assert seen[0].object == created
        assert int(seen[2].object.metadata.resource_version) > int(seen[1].object.metadata.resource_version)

    async def test_a_watch_resumes_where_another_ended(self, client):
        version = (await client.list(ConfigMap, "default")).resource_version
        async with client.watch(ConfigMap, "default", resource_version=version) as events:
            await client.create(config_map("a"))
            version = (await next_change(events)).object.metadata.resource_version
        await client.create(config_map("b"))
        async with client.watch(ConfigMap, "default", resource_version=version) as events:
            await client.create(config_map("c"))
            names = [(await next_change(events)).object.metadata.name for _ in range(2)]
        assert names == ["b", "c"]

    async def test_a_forgotten_version_is_gone(self, short_memory, client):
        version = (await client.list(ConfigMap, "default")).resource_version
        for number in range(5):
            await client.create(config_map(f"m{number}"))
        with pytest.raises(Gone):
            async with client.watch(ConfigMap, "default", resource_version=version) as events:
                await next_of(events)

    async def test_a_watch_ends_when_its_time_is_over(self, client):
        version = (await client.list(ConfigMap, "default")).resource_version
        async with client.watch(ConfigMap, "default", resource_version=version, timeout_seconds=1) as events:
            async with asyncio.timeout(DEADLINE):
                assert [event async for event in events if event.type != "BOOKMARK"] == []

    async def test_a_large_object_passes_through_a_watch(self, client):
        version = (await client.list(ConfigMap, "default")).resource_version
        async with client.watch(ConfigMap, "default", resource_version=version) as events:
            await client.create(config_map("big", text="x" * 700_000))
            await client.create(config_map("small"))
            assert len((await next_change(events)).object.data["text"]) == 700_000
            assert (await next_change(events)).object.metadata.name == "small"

    async def test_a_cancelled_watch_frees_the_server(self, client):
        version = (await client.list(Node)).resource_version
        before = await watchers(client)

        async def follow(opened: asyncio.Event):
            async with client.watch(Node, resource_version=version) as events:
                opened.set()
                async for _ in events:
                    pass

        opened = asyncio.Event()
        following = asyncio.create_task(follow(opened))
        await opened.wait()
        assert await watchers(client) == str(int(before) + 1)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        await eventually(lambda: watchers(client), before)

    # the rest -------------------------------------------------------------------------------------------------

    async def test_logs_of_a_pod_that_has_no_node(self, client):
        await client.create(a_pod())
        with pytest.raises(BadRequest, match="host"):
            async with client.logs("p", "default") as chunks:
                await next_of(chunks)
        with pytest.raises(NotFound):
            async with client.logs("absent", "default") as chunks:
                await next_of(chunks)

    async def test_subresources_and_other_paths(self, client):
        await client.create(a_pod())
        target = {"apiVersion": "v1", "kind": "Node", "name": "node-1"}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": target}
        await client.create_subresource(Pod, "p", "default", "binding", binding)
        assert (await client.get(Pod, "p", "default")).spec.node_name == "node-1"
        assert "gitVersion" in await client.request("GET", "/version")
        assert await client.request("GET", "/readyz") == "ok"
        with pytest.raises(NotFound):
            await client.request("GET", "/apis/nobody.example.com/v1/things")

    async def test_many_calls_at_once(self, client):
        await asyncio.gather(*(client.create(labelled(f"m{number}", {"set": "x"})) for number in range(50)))
        found = await client.list(ConfigMap, "default", label_selector="set=x")
        assert len(found.items) == 50

    async def test_after_close_every_call_fails(self, connect):
        client = RESTClient(connect())
        await client.get(Namespace, "default")
        await client.close()
        with pytest.raises(TransportError):
            await client.get(Namespace, "default")
        with pytest.raises(TransportError):
            async with client.watch(Namespace, resource_version="1"):
                pass
        await client.close()

    async def test_close_ends_open_watches(self, connect):
        client = RESTClient(connect())
        version = (await client.list(Namespace)).resource_version
        async with client.watch(Namespace, resource_version=version) as events:
            waiting = asyncio.ensure_future(anext(events, None))
            await client.close()
            async with asyncio.timeout(DEADLINE):
                assert await waiting is None


def a_deployment(name, container, image):
    labels = {"app": name}
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels=labels), spec=PodSpec(containers=(Container(name=container, image=image),))
    )
    selector = msgspec.convert({"matchLabels": labels}, type(DeploymentSpec().selector))
    spec = DeploymentSpec(selector=selector, template=template)
    return Deployment(metadata=ObjectMeta(name=name, namespace="default"), spec=spec)


async def watchers(client):
    """How many watches the server has open, in its own words."""
    lines = (await client.request("GET", "/metrics")).splitlines()
    return next(line.split()[1] for line in lines if line.startswith("apiserver_watchers "))


@pytest.fixture
def short_memory(monkeypatch):
    """A server that remembers little of the past."""
    monkeypatch.setattr("ketch.local.apiserver.store.collection.HISTORY", 3)


class TestInProcess(ClientContract):
    @pytest.fixture
    async def connect(self, api):
        return api.transport


class TestHTTP(ClientContract):
    @pytest.fixture
    async def connect(self, served):
        config = load_config(served.kubeconfig)
        return lambda: HTTPTransport(config)


class TestUnixSocket(ClientContract):
    @pytest.fixture
    async def connect(self, served):
        config = replace(load_config(served.kubeconfig), unix_socket=served.unix_socket)
        return lambda: HTTPTransport(config)
