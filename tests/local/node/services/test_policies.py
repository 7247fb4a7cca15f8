"""What the network is told of NetworkPolicies, by tables."""

import pytest

from ketch.kube.codec import decode
from ketch.kube.types.core import Namespace, Pod
from ketch.kube.types.networking import NetworkPolicy
from ketch.local.network.client import Block, Opening, PolicyEntry, PortRange
from ketch.local.node.services.policies import entries


def a_namespace(name, **labels):
    return decode(Namespace, {"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name, **labels}}})


def a_pod(name, ip, namespace="team", ports=(), **labels):
    container = {"name": "main", "image": "x", "ports": list(ports)}
    return decode(
        Pod,
        {
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"containers": [container]},
            "status": {"podIP": ip},
        },
    )


def a_policy(**spec):
    return decode(NetworkPolicy, {"metadata": {"name": "policy", "namespace": "team"}, "spec": spec})


NAMESPACES = [a_namespace("team"), a_namespace("other", kind="friends")]
HTTP = {"name": "http", "containerPort": 8080, "protocol": "TCP"}
WEB = a_pod("web", "10.244.0.2", ports=[HTTP], app="web")
CLIENT = a_pod("client", "10.244.0.3", app="client")
STRANGER = a_pod("stranger", "10.244.0.4", "other", app="client")
PODS = [WEB, CLIENT, STRANGER]
TO_WEB = {"matchLabels": {"app": "web"}}
CLIENTS = {"podSelector": {"matchLabels": {"app": "client"}}}
FRIENDS = {"namespaceSelector": {"matchLabels": {"kind": "friends"}}}


def one(**spec):
    (found,) = entries([a_policy(podSelector=TO_WEB, **spec)], PODS, NAMESPACES)
    return found


@pytest.mark.parametrize(
    ("rule", "opening"),
    [
        pytest.param({}, Opening(anyone=True), id="anyone"),
        pytest.param({"from": [CLIENTS]}, Opening(addresses=("10.244.0.3",)), id="pods of the own namespace"),
        pytest.param({"from": [FRIENDS]}, Opening(addresses=("10.244.0.4",)), id="every pod of other namespaces"),
        pytest.param(
            {"from": [{**CLIENTS, "namespaceSelector": {}}]},
            Opening(addresses=("10.244.0.3", "10.244.0.4")),
            id="some pods of all namespaces",
        ),
        pytest.param({"from": [{"podSelector": {"matchLabels": {"app": "x"}}}]}, Opening(), id="nobody who is there"),
        pytest.param(
            {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]},
            Opening(blocks=(Block("10.0.0.0/8", ("10.1.0.0/16",)),)),
            id="addresses",
        ),
        pytest.param(
            {"ports": [{"port": 80}, {"protocol": "UDP", "port": 5000, "endPort": 5010}, {"protocol": "SCTP"}]},
            Opening(
                anyone=True,
                ports=(PortRange("TCP", 80, 80), PortRange("UDP", 5000, 5010), PortRange("SCTP")),
            ),
            id="ports",
        ),
        pytest.param(
            {"ports": [{"port": "http"}]},
            Opening(anyone=True, ports=(PortRange("TCP", 8080, 8080),)),
            id="a port by the name that the pod gives it",
        ),
    ],
)
def test_what_a_rule_opens(rule, opening):
    assert one(ingress=[rule]) == PolicyEntry("ingress", ("10.244.0.2",), (opening,))


def test_a_policy_without_rules_closes():
    assert one(policyTypes=["Ingress"]) == PolicyEntry("ingress", ("10.244.0.2",))
    assert one(policyTypes=["Egress"]) == PolicyEntry("egress", ("10.244.0.2",))


def test_a_port_that_nobody_has_opens_nothing():
    assert one(ingress=[{"ports": [{"port": "metrics"}]}]).openings == ()


def test_a_named_port_of_egress_is_the_receivers_():
    policy = a_policy(
        podSelector={"matchLabels": {"app": "client"}},
        policyTypes=["Egress"],
        egress=[{"to": [{"podSelector": TO_WEB}], "ports": [{"port": "http"}]}],
    )
    opening = Opening(addresses=("10.244.0.2",), ports=(PortRange("TCP", 8080, 8080),))
    assert entries([policy], PODS, NAMESPACES) == (PolicyEntry("egress", ("10.244.0.3",), (opening,)),)


def test_a_policy_for_nobody_closes_nothing():
    assert entries([a_policy(podSelector={"matchLabels": {"app": "x"}})], PODS, NAMESPACES) == ()
