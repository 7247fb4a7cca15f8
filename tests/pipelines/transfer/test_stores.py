"""Each namespace's store: what its ConfigMap says, with what its Secrets hold, as they change."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from tests.waiting import eventually

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectMeta
from ketch.kube.types.core import ConfigMap, Namespace, Secret
from ketch.metadata.objects import AccessDenied, KeyOutside, LocalObjectStore
from ketch.metadata.stores.table import Connection, Kind, Place
from ketch.pipelines.transfer import stores as under_test
from ketch.pipelines.transfer.providers import ConfigurationProblem
from ketch.pipelines.transfer.sources import Carriage, SecretKey, Source
from ketch.pipelines.transfer.stores import SELECTOR, Stores

NAMESPACE = "team"


def launcher(seaweed: Seaweed, root: str = "") -> ConfigMap:
    providers = f"""
s3:
  overrides:
    - bucketName: artifacts
      endpoint: {seaweed.endpoint}
      credentials: {{secretRef: {{secretName: keys, accessKeyKey: access, secretKeyKey: secret}}}}
"""
    return config_map({"providers": providers, "defaultPipelineRoot": root})


def config_map(data: dict[str, str]) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name="kfp-launcher", namespace=NAMESPACE), data=data)


def keys(secret: str = SECRET_KEY, **more: str) -> Secret:
    meta = ObjectMeta(name="keys", namespace=NAMESPACE)
    return Secret(metadata=meta, string_data={"access": ACCESS_KEY, "secret": secret, **more})


@pytest.fixture
async def stores(client: Any, tmp_path: Path) -> AsyncIterator[Stores]:
    await client.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
    manager = Manager(client, SYSTEM_CLOCK)
    informer = manager.informer(ConfigMap, field_selector=SELECTOR)
    running = asyncio.create_task(manager.run())
    await manager.ready()
    yield Stores(client, informer, SYSTEM_CLOCK, LocalObjectStore(tmp_path / "objects"))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_without_configuration_everything_is_here(stores: Stores, tmp_path: Path):
    store = await stores.of(NAMESPACE)
    await store.write("s3://artifacts/x", b"1")
    assert (tmp_path / "objects/artifacts/x").read_bytes() == b"1"
    assert not stores.carriage(NAMESPACE).is_remote("s3://artifacts/x")
    assert stores.default_root(NAMESPACE) == "minio://mlpipeline/v2/artifacts"
    with pytest.raises(KeyOutside):
        await store.read("az://artifacts/x")


async def test_what_is_configured_is_there_and_the_rest_here(client: Any, stores: Stores, seaweed: Seaweed):
    await client.create(keys())
    await client.create(launcher(seaweed, "s3://artifacts/root/"))
    await eventually(lambda: stores.carriage(NAMESPACE).sources)
    store = await stores.of(NAMESPACE)
    assert (store.is_remote("s3://artifacts/x"), store.is_remote("s3://other/x")) == (True, False)
    await store.write("s3://artifacts/of-stores", b"2")
    assert await stores.seen_from(NAMESPACE).read("s3://artifacts/of-stores") == b"2"
    assert await stores.of(NAMESPACE) is store
    assert stores.default_root(NAMESPACE) == "s3://artifacts/root"
    assert stores.default_root("other") == "minio://mlpipeline/v2/artifacts"
    assert not (await stores.of("other")).is_remote("s3://artifacts/x")


async def test_what_is_missing_is_named(client: Any, stores: Stores, seaweed: Seaweed):
    await client.create(launcher(seaweed))
    await eventually(lambda: stores.carriage(NAMESPACE).sources)
    with pytest.raises(
        ConfigurationProblem, match=r"s3 store: Secret keys in namespace team cannot be read: .*not found"
    ):
        await stores.of(NAMESPACE)
    await client.create(Secret(metadata=ObjectMeta(name="keys", namespace=NAMESPACE), string_data={"access": "x"}))
    with pytest.raises(ConfigurationProblem, match='Secret keys has no key "secret"'):
        await stores.of(NAMESPACE)
    await client.update(config_map({"providers": "s3: 1"}))
    with pytest.raises(ConfigurationProblem, match="ConfigMap kfp-launcher: providers: Expected"):
        await eventually(lambda: not stores.carriage(NAMESPACE).sources)


async def test_a_platform_without_a_store_of_its_own_uses_the_one_for_all(
    client: Any, stores: Stores, seaweed: Seaweed
):
    """As a real cluster does, where minio:// is Kubeflow's own store."""
    await client.create(keys())
    connection = Connection(kind=Kind.S3, endpoint=seaweed.endpoint, path_style=True)
    secrets = {"access_key": SecretKey("keys", "access"), "secret_key": SecretKey("keys", "secret")}
    everywhere = Carriage(sources=(Source(Place(scheme="minio", connection=connection), secrets),))
    elsewhere = Stores(client, stores._config_maps, SYSTEM_CLOCK, None, carriage=everywhere)
    store = elsewhere.seen_from(NAMESPACE)
    await store.write("minio://artifacts/for-all", b"3")
    assert await store.read("minio://artifacts/for-all") == b"3"
    assert elsewhere.carriage(NAMESPACE).is_remote("minio://mlpipeline/v2/artifacts")
    with pytest.raises(KeyOutside, match="in no object store that is configured"):
        await store.read("s3://artifacts/for-all")


async def test_new_credentials_are_taken_up(
    client: Any, stores: Stores, seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(under_test, "SECRETS_FRESH", 0.0)
    await client.create(keys("wrong"))
    await client.create(launcher(seaweed))
    await eventually(lambda: stores.carriage(NAMESPACE).sources)
    with pytest.raises(AccessDenied):
        await (await stores.of(NAMESPACE)).exists("s3://artifacts/x")
    await client.update(keys())
    assert not await (await stores.of(NAMESPACE)).exists("s3://artifacts/never-there")
