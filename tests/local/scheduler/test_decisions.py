"""Decisions by table: what keeps a pod off a node, in which words, and which node is best."""

import pytest
from tests.playing import HOSTNAME, a_pod, node_json

from ketch.kube.codec import decode
from ketch.kube.types.containers import Container, ContainerPort
from ketch.kube.types.core import Node
from ketch.kube.types.pods import Toleration
from ketch.local.scheduler.decisions import Unplaced, decide
from ketch.local.scheduler.filters import Change
from ketch.local.scheduler.needs import needs_of, node_terms
from ketch.local.scheduler.reading import facts_of
from ketch.local.scheduler.state import HOST_NETWORK, NETWORK_LABEL, State

REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)
ZONE = "topology.kubernetes.io/zone"


def a_state(*nodes: dict, placed=()) -> State:
    state = State()
    for node in nodes or (node_json(),):
        state.set_node(facts_of(decode(Node, node)))
    for number, (pod, name) in enumerate(placed):
        state.place(f"placed-{number}", needs_of(pod), name)
    return state


def verdict(pod, state: State, volumes=()) -> str:
    """The node's name, or the message."""
    decision = decide(needs_of(pod), state, volumes)
    return decision.message if isinstance(decision, Unplaced) else decision.name


def node_affinity(*terms: dict, kind: str = "matchExpressions") -> dict:
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{kind: [term]} for term in terms]}}}


def near(app: str, *, apart: bool = False, topology: str = ZONE, **more) -> dict:
    term = {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": topology, **more}
    return {"podAntiAffinity" if apart else "podAffinity": {REQUIRED: [term]}}


def listening(port: int, address: str = "") -> dict:
    ports = (ContainerPort(container_port=80, host_port=port, host_ip=address),)
    return {"containers": (Container(name="main", ports=ports),)}


DISKED = node_json(labels={"disk": "ssd", "size": "5"})
TAINTED = node_json(taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])


@pytest.mark.parametrize(
    ("pod", "node", "message"),
    [
        pytest.param(a_pod(requests={"cpu": "4"}), {}, "node", id="it fits exactly"),
        pytest.param(
            a_pod(requests={"cpu": "5", "memory": "1Gi"}),
            {},
            "0/1 nodes are available: 1 Insufficient cpu. "
            "The pod requests 5 cpu, the largest node has 4: lower resources.requests.",
            id="too big for any node",
        ),
        pytest.param(
            a_pod(requests={"nvidia.com/gpu": "1"}),
            {},
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. No node has nvidia.com/gpu: "
            "remove it from resources.requests and limits, or add a node that has it.",
            id="a device that no node has",
        ),
        pytest.param(
            a_pod(requests={"nvidia.com/gpu": "1"}),
            node_json(allocatable={"nvidia.com/gpu": "1"}),
            "node",
            id="a device",
        ),
        pytest.param(
            a_pod(), node_json(allocatable={"pods": "0"}), "0/1 nodes are available: 1 Too many pods.", id="pods"
        ),
        pytest.param(
            a_pod(),
            node_json(unschedulable=True),
            "0/1 nodes are available: 1 node(s) were unschedulable.",
            id="cordoned",
        ),
        pytest.param(
            a_pod(),
            node_json(ready=False),
            "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.",
            id="not ready",
        ),
        pytest.param(
            a_pod(), TAINTED, "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}.", id="a taint"
        ),
        pytest.param(
            a_pod(tolerations=(Toleration(key="gpu", operator="Exists"),)), TAINTED, "node", id="a taint tolerated"
        ),
        pytest.param(
            a_pod(tolerations=(Toleration(operator="Exists"),)), TAINTED, "node", id="everything is tolerated"
        ),
        pytest.param(
            a_pod(tolerations=(Toleration(key="gpu", value="no", effect="NoSchedule"),)),
            TAINTED,
            "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: yes}.",
            id="another value is tolerated",
        ),
        pytest.param(
            a_pod(node_selector={"disk": "hdd"}),
            DISKED,
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            id="a node selector",
        ),
        pytest.param(a_pod(node_selector={"disk": "ssd"}), DISKED, "node", id="a node selector that matches"),
    ],
)
def test_one_node(pod, node, message):
    assert verdict(pod, a_state(*([node] if node else []))) == message


@pytest.mark.parametrize(
    ("term", "matches"),
    [
        pytest.param({"key": "disk", "operator": "In", "values": ["ssd", "nvme"]}, True, id="in"),
        pytest.param({"key": "disk", "operator": "In", "values": ["hdd"]}, False, id="not in the list"),
        pytest.param({"key": "disk", "operator": "NotIn", "values": ["hdd"]}, True, id="notin"),
        pytest.param({"key": "disk", "operator": "Exists"}, True, id="exists"),
        pytest.param({"key": "disk", "operator": "DoesNotExist"}, False, id="does not exist"),
        pytest.param({"key": "size", "operator": "Gt", "values": ["4"]}, True, id="greater"),
        pytest.param({"key": "size", "operator": "Lt", "values": ["5"]}, False, id="not less"),
    ],
)
def test_node_affinity_operators(term, matches):
    found = verdict(a_pod(affinity=node_affinity(term)), a_state(DISKED))
    assert (found == "node") == matches


def test_node_affinity_alternatives_and_fields():
    terms = [{"key": "disk", "operator": "In", "values": [value]} for value in ("hdd", "ssd")]
    assert verdict(a_pod(affinity=node_affinity(*terms)), a_state(DISKED)) == "node"
    by_name = {"key": "metadata.name", "operator": "In", "values": ["b"]}
    state = a_state(node_json("a"), node_json("b"))
    assert verdict(a_pod(affinity=node_affinity(by_name, kind="matchFields")), state) == "b"
    nothing = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{}]}}}
    assert verdict(a_pod(affinity=nothing), state).startswith("0/2 nodes are available: 2 node(s) didn't match")


@pytest.mark.parametrize(
    ("taken", "asked", "free"),
    [
        pytest.param(listening(80), listening(80), False, id="the same port"),
        pytest.param(listening(80), listening(81), True, id="another port"),
        pytest.param(listening(80, "10.0.0.1"), listening(80, "10.0.0.2"), True, id="another address"),
        pytest.param(listening(80, "10.0.0.1"), listening(80), False, id="every address meets one"),
        pytest.param(listening(80), listening(80, "10.0.0.1"), False, id="one address meets every"),
    ],
)
def test_host_ports(taken, asked, free):
    found = verdict(a_pod(**asked), a_state(placed=[(a_pod(**taken), "node")]))
    assert (found == "node") == free
    assert free or "1 node(s) didn't have free ports for the requested pod ports" in found


@pytest.mark.parametrize(
    ("network", "asked", "message"),
    [
        pytest.param({}, listening(81), "node", id="networks of their own"),
        pytest.param(
            {NETWORK_LABEL: HOST_NETWORK},
            listening(81),
            "1 node(s) didn't have free ports for the requested pod ports (pods there share the network of their host)",
            id="the same container port",
        ),
        pytest.param({NETWORK_LABEL: HOST_NETWORK}, {}, "node", id="no port"),
    ],
)
def test_ports_where_pods_share_their_hosts_network(network, asked, message):
    state = a_state(node_json(labels=network), placed=[(a_pod(**listening(80)), "node")])
    assert message in verdict(a_pod(**asked), state)
    state.displace("placed-0")
    assert verdict(a_pod(**asked), state) == "node"


def test_a_port_is_free_again_when_its_pod_has_gone():
    state = a_state(placed=[(a_pod(**listening(80)), "node")])
    state.displace("placed-0")
    assert verdict(a_pod(**listening(80)), state) == "node"


def test_reasons_are_counted_over_nodes():
    state = a_state(node_json("a"), node_json("b", unschedulable=True), node_json("c"))
    pod = a_pod(requests={"cpu": "4"})
    for name in ("a", "c"):
        state.place(f"on-{name}", needs_of(a_pod(requests={"cpu": "1"})), name)
    assert verdict(pod, state) == "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."
    decision = decide(needs_of(pod), state)
    assert decision.cure & Change.ROOM
    assert decision.shared


def test_without_nodes():
    assert decide(needs_of(a_pod()), State()).message == "no nodes available to schedule pods"


def test_room_that_pods_hold_comes_back():
    state, pod = a_state(), a_pod(requests={"cpu": "3"})
    assert state.place("a", needs_of(pod), "node")
    assert not state.place("a", needs_of(pod), "node")
    assert verdict(pod, state).startswith("0/1 nodes are available: 1 Insufficient cpu.")
    assert state.displace("a")
    assert verdict(pod, state) == "node"


def test_bound_volumes_bind_to_their_nodes():
    term = {"key": HOSTNAME, "operator": "In", "values": ["b"]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}}
    state = a_state(node_json("a"), node_json("b"))
    assert verdict(a_pod(), state, [node_terms(affinity)]) == "b"
    assert "didn't match PersistentVolume's node affinity" in verdict(a_pod(), a_state(), [node_terms(affinity)])


def zoned(*zones: str) -> list[dict]:
    return [node_json(f"n{number}", labels={ZONE: zone}) for number, zone in enumerate(zones)]


WEB, DB = {"app": "web"}, {"app": "db"}


@pytest.mark.parametrize(
    ("pod", "placed", "found"),
    [
        pytest.param(a_pod(labels=WEB, affinity=near("db")), [(a_pod(labels=DB), "n1")], "n1", id="near"),
        pytest.param(
            a_pod(labels=WEB, affinity=near("db")), [], "2 node(s) didn't match pod affinity rules", id="near nobody"
        ),
        pytest.param(a_pod(labels=WEB, affinity=near("web")), [], "n0", id="the first of those that stay together"),
        pytest.param(
            a_pod(labels=WEB, affinity=near("web", apart=True)), [(a_pod(labels=WEB), "n0")], "n1", id="apart"
        ),
        pytest.param(
            a_pod(labels=WEB, affinity=near("web", apart=True)),
            [(a_pod(labels=WEB), "n0"), (a_pod(labels=WEB), "n1")],
            "2 node(s) didn't match pod anti-affinity rules",
            id="apart from all",
        ),
        pytest.param(
            a_pod(labels=DB),
            [(a_pod(labels=WEB, affinity=near("db", apart=True)), "n0")],
            "n1",
            id="others want to be apart",
        ),
        pytest.param(
            a_pod(labels=WEB, affinity=near("db", namespaces=["elsewhere"])),
            [(a_pod(labels=DB), "n1")],
            "2 node(s) didn't match pod affinity rules",
            id="pods of another namespace do not count",
        ),
        pytest.param(
            a_pod(labels=WEB, affinity=near("db", namespaceSelector={})), [(a_pod(labels=DB), "n1")], "n1", id="all do"
        ),
    ],
)
def test_neighbours(pod, placed, found):
    assert found in verdict(pod, a_state(*zoned("east", "west"), placed=placed))


def test_what_others_forbid_holds_for_pods_with_these_labels_only():
    placed = [(a_pod(labels=WEB, affinity=near("db", apart=True)), "node")]
    state = a_state(node_json(labels={ZONE: "east"}), placed=placed)
    decision = decide(needs_of(a_pod(labels=DB)), state)
    assert "node(s) didn't satisfy existing pods anti-affinity rules" in decision.message
    assert not decision.shared
    state.displace("placed-0")
    assert verdict(a_pod(labels=DB), state) == "node"


def spread(when: str = "DoNotSchedule", **more) -> dict:
    constraint = {
        "maxSkew": 1,
        "topologyKey": ZONE,
        "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": WEB},
        **more,
    }
    return {"labels": WEB, "topology_spread_constraints": (constraint,)}


@pytest.mark.parametrize(
    ("zones", "at", "found"),
    [
        pytest.param(("east", "west"), ["n0"], "n1", id="the emptier domain"),
        pytest.param(("east", "west"), ["n0", "n0", "n1"], "n1", id="never two more than the emptiest"),
        pytest.param(("east", "east", "west"), ["n0"], "n2", id="domains count, not nodes"),
    ],
)
@pytest.mark.parametrize("when", ["DoNotSchedule", "ScheduleAnyway"])
def test_spreading(zones, at, found, when):
    placed = [(a_pod(labels=WEB), name) for name in at]
    assert verdict(a_pod(**spread(when)), a_state(*zoned(*zones), placed=placed)) == found


def test_a_node_outside_all_domains_is_no_place_to_spread_to():
    assert "missing required label" in verdict(a_pod(**spread()), a_state())


def test_too_few_domains_count_as_an_empty_one():
    state = a_state(*zoned("east"), placed=[(a_pod(labels=WEB), "n0")])
    assert verdict(a_pod(**spread()), state) == "n0"
    assert "didn't match pod topology spread constraints" in verdict(a_pod(**spread(minDomains=2)), state)


@pytest.mark.parametrize(
    ("pod", "nodes", "chosen"),
    [
        pytest.param(
            a_pod(), [node_json("a"), node_json("b", allocatable={"cpu": "8"})], "a", id="equally empty: by name"
        ),
        pytest.param(
            a_pod(requests={"cpu": "2"}),
            [node_json("a"), node_json("b", allocatable={"cpu": "8"})],
            "b",
            id="more room left",
        ),
        pytest.param(
            a_pod(
                affinity={
                    "nodeAffinity": {
                        PREFERRED: [
                            {"weight": 5, "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}
                        ]
                    }
                }
            ),
            [node_json("a"), node_json("b", labels={"disk": "ssd"})],
            "b",
            id="preferred",
        ),
        pytest.param(
            a_pod(),
            [node_json("a", taints=[{"key": "x", "effect": "PreferNoSchedule"}]), node_json("b")],
            "b",
            id="a soft taint",
        ),
    ],
)
def test_the_best_node(pod, nodes, chosen):
    assert verdict(pod, a_state(*nodes)) == chosen


@pytest.mark.parametrize(("kind", "chosen"), [("podAffinity", "n1"), ("podAntiAffinity", "n0")])
def test_preferred_neighbours(kind, chosen):
    term = {"labelSelector": {"matchLabels": DB}, "topologyKey": ZONE}
    affinity = {kind: {PREFERRED: [{"weight": 10, "podAffinityTerm": term}]}}
    state = a_state(*zoned("east", "west"), placed=[(a_pod(labels=DB), "n1")])
    assert verdict(a_pod(affinity=affinity), state) == chosen
