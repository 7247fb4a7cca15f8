"""The table of names."""

import pytest

from ketch.local.network.dns.message import Answer, Code, QueryType
from ketch.local.network.dns.zone import Zone

ZONE = Zone(
    {
        "web.default.svc.cluster.local": ("10.96.0.20",),
        "workers.default.svc.cluster.local": ("10.244.0.5", "10.244.0.6"),
        "w-0.workers.default.svc.cluster.local": ("10.244.0.5",),
        "idle.default.svc.cluster.local": (),
    }
)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        pytest.param("web.default.svc.cluster.local", QueryType.A, Answer(Code.OK, ["10.96.0.20"]), id="a Service"),
        pytest.param("web.default.svc.cluster.local", QueryType.AAAA, Answer(Code.OK), id="no IPv6, but known"),
        pytest.param("web.default.svc.cluster.local", QueryType.ANY, Answer(Code.OK, ["10.96.0.20"]), id="anything"),
        pytest.param("idle.default.svc.cluster.local", QueryType.A, Answer(Code.OK, []), id="no pods yet"),
        pytest.param("default.svc.cluster.local", QueryType.A, Answer(Code.OK), id="above a name"),
        pytest.param("cluster.local", QueryType.A, Answer(Code.OK), id="the domain"),
        pytest.param(
            "index.example.svc.cluster.local", QueryType.A, Answer(Code.NAME_ERROR), id="through a search domain"
        ),
        pytest.param("notcluster.local", QueryType.A, None, id="a longer last label"),
        pytest.param("index.example", QueryType.A, None, id="the world"),
        pytest.param("8.8.8.8.in-addr.arpa", QueryType.PTR, None, id="the world, backwards"),
        pytest.param(
            "5.0.244.10.in-addr.arpa",
            QueryType.PTR,
            Answer(Code.OK, ("w-0.workers.default.svc.cluster.local",)),
            id="a pod's own name before its Service's",
        ),
        pytest.param("9.0.244.10.in-addr.arpa", QueryType.PTR, Answer(Code.NAME_ERROR), id="an unnamed address"),
    ],
)
def test_answers(name, kind, expected):
    assert ZONE.answer(name, kind) == expected


def test_all_addresses_come_in_changing_order():
    seen = {tuple(ZONE.answer("workers.default.svc.cluster.local", QueryType.A).values) for _ in range(100)}
    assert seen == {("10.244.0.5", "10.244.0.6"), ("10.244.0.6", "10.244.0.5")}


def test_a_host_is_found_as_the_pod_that_asks_may_write_it():
    zone = Zone(
        {
            "web.default.svc.cluster.local": ("10.96.0.20",),
            "web.other.svc.cluster.local": ("10.96.0.30",),
            "10-244-0-5.other.pod.cluster.local": ("10.244.0.5",),
        }
    )
    assert zone.find("web", "10.244.0.5") == ("10.96.0.30",)
    assert zone.find("Web.", "10.244.0.5") == ("10.96.0.30",)
    assert zone.find("web", "10.244.0.9") == ()
    assert zone.find("web", "10.244.0.9", domain="default") == zone.find("web.default", "10.244.0.9")
    for name in ("web.default", "web.default.svc", "web.default.svc.cluster.local"):
        assert zone.find(name, "10.244.0.5") == ("10.96.0.20",)
    assert zone.find("index.example", "10.244.0.5") == ()


def test_an_alias_stands_for_another_name():
    zone = Zone(
        {
            "web.default.svc.cluster.local": ("10.96.0.20",),
            "old.default.svc.cluster.local": ("web.default.svc.cluster.local",),
            "far.default.svc.cluster.local": ("Index.Example.",),
            "ring.default.svc.cluster.local": ("ring.default.svc.cluster.local",),
        }
    )
    assert zone.meant("old.default.svc.cluster.local") == "web.default.svc.cluster.local"
    assert zone.meant("far.default.svc.cluster.local") == "index.example"
    assert zone.find("old.default", "10.244.0.5") == ("10.96.0.20",)
    ring = zone.meant("ring.default.svc.cluster.local")
    assert zone.answer(ring, QueryType.A) == Answer(Code.OK, [])
