"""Definitions on an API server that may not be ours to define in."""

from typing import ClassVar

import pytest

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.definitions import definition_of
from ketch.kube.installation import DefinitionsMissing, PatientInstaller, apply_all
from ketch.kube.meta import KubeObject, Resource
from ketch.kube.rest import RESTClient
from ketch.local.apiserver.auth.identity import AUTHENTICATED, UserInfo
from ketch.local.apiserver.server import APIServer


class Lamp(KubeObject, frozen=True, kw_only=True):
    """A kind of somebody's own."""

    resource: ClassVar = Resource("example.org", "v1", "Lamp", "lamps")


class Chair(KubeObject, frozen=True, kw_only=True):
    """Another."""

    resource: ClassVar = Resource("example.org", "v1", "Chair", "chairs")


async def test_whoever_may_defines_and_others_are_content_with_it(api: APIServer) -> None:
    install = PatientInstaller(SYSTEM_CLOCK)
    administrator = RESTClient(api.transport())
    somebody = RESTClient(api.transport(UserInfo("ann", (AUTHENTICATED,))))
    lamp, chair = definition_of(Lamp), definition_of(Chair)
    with pytest.raises(DefinitionsMissing, match=r"lamps\.example\.org, chairs\.example\.org"):
        await install(somebody, (lamp, chair), "test")
    await apply_all(administrator, (lamp,), "test")
    with pytest.raises(DefinitionsMissing, match=r"define them: chairs\.example\.org: "):
        await install(somebody, (lamp, chair), "test")
    await install(administrator, (lamp, chair), "test")
    await install(somebody, (lamp, chair), "test")
    assert (await administrator.list(Lamp, "default")).items == ()
