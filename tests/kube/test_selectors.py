"""Selectors: parsed once, matched often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.kube.meta import LabelSelector, LabelSelectorRequirement
from ketch.kube.selectors import Requirement, Selector, SelectorError, matcher, parse_fields, parse_labels

LABELS = {"app": "web", "tier": "front", "size": "12"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "app=web",
        "app==web",
        "app!=db",
        "missing!=x",
        "app in (web, db)",
        "app notin (db)",
        "missing notin (db)",
        "app",
        "!missing",
        "size>11",
        "size<13",
        "app=web,tier in (front,back),!missing",
    ],
)
def test_selected(text):
    assert parse_labels(text).matches(LABELS)


@pytest.mark.parametrize(
    "text", ["app=db", "app!=web", "app in (db)", "app notin (web)", "missing", "!app", "size>12", "app>1"]
)
def test_not_selected(text):
    assert not parse_labels(text).matches(LABELS)


@pytest.mark.parametrize("text", ["=web", "app in web", "app=(a", "a b", "-a=b", "app in (a", "a=b,,"])
def test_nonsense_is_refused(text):
    with pytest.raises(SelectorError):
        parse_labels(text)


KEYS = st.from_regex(r"\A([a-z]{1,5}/)?[a-z]{1,8}\Z")
VALUES = st.frozensets(st.from_regex(r"\A[a-z0-9]{1,4}\Z"), min_size=1, max_size=3)
REQUIREMENTS = st.one_of(
    st.builds(Requirement, KEYS, st.sampled_from(["In", "NotIn"]), VALUES),
    st.builds(Requirement, KEYS, st.sampled_from(["Exists", "DoesNotExist"]), st.just(frozenset[str]())),
)


@given(st.lists(REQUIREMENTS, max_size=4).map(tuple).map(Selector))
def test_what_is_written_is_read(selector):
    assert parse_labels(str(selector)) == selector


def test_selectors_of_objects():
    selector = LabelSelector(
        match_labels={"app": "web"},
        match_expressions=(LabelSelectorRequirement(key="tier", operator="In", values=("front",)),),
    )
    assert matcher(selector)(LABELS)
    assert not matcher(selector)({"app": "web"})
    assert matcher(LabelSelector())({})
    assert not matcher(None)(LABELS)


def test_fields():
    assert parse_fields("a.b=1,c!=2,d==3") == (
        Requirement("a.b", "In", frozenset({"1"})),
        Requirement("c", "NotIn", frozenset({"2"})),
        Requirement("d", "In", frozenset({"3"})),
    )
    with pytest.raises(SelectorError):
        parse_fields("a")
