"""What pods are told of the way outside."""

import pytest

from ketch.local.network.outbound.environment import (
    declared_indexes,
    declared_services,
    package_settings,
    pod_environment,
)
from ketch.local.network.wire import NetworkInfo

ISOLATED = NetworkInfo("isolated", "10.244.0.0/16", "10.96.0.0/16", "10.96.0.10", "http://10.244.0.1:3128")


def test_pods_are_told_of_the_proxy_and_what_needs_none():
    told = pod_environment(ISOLATED, {})
    assert told["https_proxy"] == told["HTTP_PROXY"] == "http://10.244.0.1:3128"
    assert ".cluster.local" in told["no_proxy"]
    assert pod_environment(NetworkInfo("host", "", "", "", None, "no"), {"PIP_INDEX_URL": "http://a/"}) == {}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("https://packages.example/simple", "https://packages.example/simple"),
        ("http://localhost:3141/root/pypi", "http://host.ketch.internal:3141/root/pypi"),
        ("local=http://127.0.0.1/simple https://b/", "local=http://host.ketch.internal/simple https://b/"),
        ("https://localhost.example/", "https://localhost.example/"),
        ("https://me:secret@packages.example/simple", None),
    ],
)
def test_package_indexes_are_passed_on(setting, expected):
    assert package_settings({"UV_INDEX": setting, "HOME": "/x"}).get("UV_INDEX") == expected


def test_declared_indexes():
    found = declared_indexes({"PIP_INDEX_URL": "http://localhost:3141/x", "UV_INDEX": "a=https://b.example/ http://c/"})
    assert found == {("host.ketch.internal", 3141), ("b.example", 443), ("c", 80)}


def test_declared_services():
    found = declared_services({"KETCH_HOST_SERVICES": "localhost:9000, store.example:443 [::1]:1 nonsense"})
    here = {(name, 9000) for name in ("localhost", "127.0.0.1", "host.ketch.internal")}
    assert found == here | {("store.example", 443), ("::1", 1)}
    assert declared_services({}) == frozenset()
