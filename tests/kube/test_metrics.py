"""Counts in Prometheus' text form."""

from ketch.kube.metrics import Counter, Registry, family


def test_a_counter_says_what_it_is_and_counts_by_its_labels():
    counter, registry = Counter("jobs_total", "Jobs.", ("namespace", "kind")), Registry()
    registry.add(counter.lines)
    assert registry.text() == "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\n"
    counter.count("b", "x")
    counter.count("a", "x")
    counter.count("a", "x")
    assert registry.text().splitlines()[2:] == [
        'jobs_total{namespace="a",kind="x"} 2',
        'jobs_total{namespace="b",kind="x"} 1',
    ]
    counter.forget("a", "x")
    counter.forget("never", "x")
    assert registry.text().splitlines()[2:] == ['jobs_total{namespace="b",kind="x"} 1']


def test_values_of_labels_are_escaped():
    (*_, line) = family("n", "d", "gauge", ("name",), [(('a"b\\c\nd',), 1.5)])
    assert line == r'n{name="a\"b\\c\nd"} 1.5'
