"""What every namespace gets."""

from functools import partial

import pytest
from tests.playing import a_world

from ketch.kube.meta import ObjectKey, ObjectMeta
from ketch.kube.types.core import ConfigMap, Namespace, ServiceAccount
from ketch.local.workloads import accounts

CERTIFICATE = "-----BEGIN CERTIFICATE-----"


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, partial(accounts.setup, certificate=CERTIFICATE)) as world:
        await world.client.create(Namespace(metadata=ObjectMeta(name="team")))
        await world.settle()
        yield world


@pytest.mark.parametrize("namespace", ["default", "kubeflow", "team"])
async def test_a_namespace_has_an_account_and_the_certificate(world, namespace):
    assert await world.get(ServiceAccount, "default", namespace)
    assert (await world.get(ConfigMap, "kube-root-ca.crt", namespace)).data == {"ca.crt": CERTIFICATE}


async def test_what_is_lost_or_changed_comes_back(world):
    await world.client.delete(ServiceAccount, "default", "team")
    await world.client.delete(ConfigMap, "kube-root-ca.crt", "default")
    await world.client.update(
        ConfigMap(metadata=ObjectMeta(name="kube-root-ca.crt", namespace="team"), data={"a": "b"})
    )
    await world.settle()
    assert await world.get(ServiceAccount, "default", "team")
    for namespace in ("default", "team"):
        assert (await world.get(ConfigMap, "kube-root-ca.crt", namespace)).data["ca.crt"] == CERTIFICATE


async def test_it_settles_also_for_namespaces_that_go_or_never_were(world):
    assert await world.settles("accounts", ObjectKey("", "team"), ObjectKey("", "never"))
    await world.client.delete(Namespace, "team")
    await world.client.delete(ServiceAccount, "default", "team")
    await world.settle()
    assert await world.get(ServiceAccount, "default", "team") is None


async def test_without_a_certificate_there_are_only_accounts(tmp_path):
    async with a_world(tmp_path, partial(accounts.setup, certificate="")) as world:
        assert await world.get(ServiceAccount, "default", "default")
        assert await world.get(ConfigMap, "kube-root-ca.crt", "default") is None
