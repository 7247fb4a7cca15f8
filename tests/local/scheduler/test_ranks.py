"""Whatever the nodes and the pods on them are, the node that is found by looking at few is the best of all."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ketch.kube.selectors import Requirement
from ketch.local.scheduler.decisions import Unplaced, decide
from ketch.local.scheduler.filters import refusals, surroundings
from ketch.local.scheduler.needs import EVERYWHERE, Needs, Port
from ketch.local.scheduler.scores import best
from ketch.local.scheduler.state import NodeFacts, State
from ketch.local.scheduler.terms import HOSTNAME_LABEL, NodeTerm, Taint, Toleration

GIBI = 1 << 30
TAINTS = (Taint("gpu", "yes", "NoSchedule"), Taint("slow", "", "PreferNoSchedule"))
names = st.sampled_from([f"node-{number}" for number in range(8)])


@st.composite
def some_facts(draw: st.DrawFn) -> NodeFacts:
    name = draw(names)
    labels = {HOSTNAME_LABEL: name} | draw(st.sampled_from([{}, {"disk": "ssd"}, {"disk": "hdd"}]))
    allocatable = {
        "cpu": draw(st.sampled_from([2000, 4000])),
        "memory": 4 * GIBI,
        "pods": draw(st.sampled_from([3, 9])),
    }
    return NodeFacts(name, labels, tuple(draw(st.sets(st.sampled_from(TAINTS)))), allocatable)


def a_term(key: str, *values: str, is_field: bool = False) -> NodeTerm:
    requirement = (Requirement(key, "In", frozenset(values)),)
    return NodeTerm((), requirement) if is_field else NodeTerm(requirement, ())


terms = st.one_of(
    st.sampled_from([a_term("disk", "ssd"), a_term("disk", "ssd", "hdd")]),
    names.map(lambda name: a_term(HOSTNAME_LABEL, name)),
    names.map(lambda name: a_term("metadata.name", name, is_field=True)),
)


@st.composite
def some_needs(draw: st.DrawFn) -> Needs:
    amounts = {"cpu": draw(st.sampled_from([0, 250, 1000, 3000])), "memory": draw(st.sampled_from([0, GIBI]))}
    port = Port(EVERYWHERE, "TCP", 80)
    return Needs(
        namespace="default",
        resources=tuple((name, number) for name, number in amounts.items() if number),
        node_selector=draw(st.sampled_from([(), (("disk", "ssd"),), ((HOSTNAME_LABEL, "node-1"),)])),
        node_terms=draw(st.none() | st.lists(terms, max_size=2).map(tuple)),
        preferred_nodes=tuple((5, term) for term in draw(st.lists(terms, max_size=1))),
        tolerations=draw(st.sampled_from([(), (Toleration("", "Exists", "", ""),)])),
        ports=draw(st.sampled_from([(), (port,)])),
    )


@settings(max_examples=300, deadline=None)
@given(
    facts=st.lists(some_facts(), max_size=12),
    gone=st.lists(names, max_size=2),
    placed=st.lists(st.tuples(names, some_needs()), max_size=20),
    left=st.sets(st.integers(0, 19), max_size=6),
    needs=some_needs(),
)
def test_the_best_of_all(facts, gone, placed, left, needs):
    state = State()
    for each in facts:
        state.set_node(each)
    for number, (name, held) in enumerate(placed):
        state.place(str(number), held, name)
    for name in gone:
        state.remove_node(name)
    for number in left:
        state.displace(str(number))

    around = surroundings(needs, state)
    feasible = [node for node in state.nodes() if not refusals(needs, node, around)]
    found = decide(needs, state)

    if not feasible:
        assert isinstance(found, Unplaced)
    else:
        assert found is best(needs, feasible, state)
