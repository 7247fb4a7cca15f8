"""One object for all who get the same JSON."""

from ketch.kube.meta import ObjectMeta
from ketch.kube.sharing import Lean, Shared, without_work
from ketch.kube.types.containers import Container, EnvVar
from ketch.kube.types.core import ConfigMap, Secret
from ketch.kube.types.pods import Pod, PodSpec, PodStatus
from ketch.kube.types.volumes import ClaimVolume, Volume


def config_map(name: str, version: str = "1") -> dict[str, object]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": version}, "data": {"a": "b"}}


def test_one_version_of_an_object_is_decoded_once():
    shared = Shared()
    assert shared.decode(ConfigMap, config_map("a")) is shared.decode(ConfigMap, config_map("a"))


def test_other_versions_kinds_and_namesakes_are_others():
    shared = Shared()
    first = shared.decode(ConfigMap, config_map("a"))
    assert shared.decode(ConfigMap, config_map("a", "2")) is not first
    assert shared.decode(ConfigMap, config_map("a") | {"metadata": {"name": "a", "uid": "other"}}) is not first
    assert isinstance(shared.decode(Secret, config_map("a")), Secret)


def test_what_is_not_stored_is_nobody_elses():
    shared, raw = Shared(), {"metadata": {"name": "a"}, "data": {"a": "b"}}
    assert shared.decode(ConfigMap, raw) is not shared.decode(ConfigMap, raw)


def test_what_came_long_ago_is_forgotten_and_never_mistaken():
    shared = Shared(most=2)
    for number in range(50):
        assert shared.decode(ConfigMap, config_map(str(number))).metadata.name == str(number)


def ended(phase: str = "Succeeded") -> Pod:
    claim = Volume(name="data", persistent_volume_claim=ClaimVolume(claim_name="c"))
    container = Container(name="main", image="i", command=("sh",), args=("-c",), env=(EnvVar(name="A", value="b"),))
    spec = PodSpec(containers=(container,), volumes=(claim, Volume(name="tmp")), node_name="n", restart_policy="Never")
    return Pod(metadata=ObjectMeta(name="p"), spec=spec, status=PodStatus(phase=phase))


def test_of_a_pod_that_has_ended_its_work_is_left_out_and_nothing_else():
    pod = ended()
    kept = without_work(pod)
    assert kept.spec.containers == (Container(name="main", image="i"),)
    assert [each.name for each in kept.spec.volumes] == ["data"]
    assert (kept.metadata, kept.status, kept.spec.node_name) == (pod.metadata, pod.status, "n")
    assert without_work(ended("Running")) == ended("Running")


def test_what_is_kept_is_the_same_for_all():
    lean, pod, running = Lean(without_work), ended(), ended("Running")
    assert lean(pod) is lean(pod)
    assert lean(running) is running
