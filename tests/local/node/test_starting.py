"""The files by which a pod's containers know themselves and others."""

from ketch.local.node import starting


def test_domains_of_a_pod_s_own_come_after_the_cluster_s_on_one_line():
    text = "nameserver 10.96.0.10\nsearch team.svc.cluster.local svc.cluster.local\noptions ndots:5\n"
    merged = starting._with_searches(text, ("job.team.svc.cluster.local", "svc.cluster.local"))
    assert merged == (
        "nameserver 10.96.0.10\noptions ndots:5\n"
        "search team.svc.cluster.local svc.cluster.local job.team.svc.cluster.local\n"
    )
    assert starting._with_searches("", ()) == ""
    assert starting._with_searches("nameserver 1.1.1.1\n", ("a",)) == "nameserver 1.1.1.1\nsearch a\n"


def test_a_pod_knows_its_names_below_its_service():
    assert list(starting._full_names("node-0", "job", "team")) == [
        "node-0.job.team.svc.cluster.local",
        "node-0.job.team.svc",
        "node-0.job.team",
        "node-0.job",
    ]
