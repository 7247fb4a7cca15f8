"""Objects go from and to JSON and lose nothing."""

import importlib
import pkgutil
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ketch.kube.types
from ketch.kube.codec import decode, encode
from ketch.kube.meta import KubeObject, ObjectKey, ObjectMeta, Resource, unstructured
from ketch.kube.types.containers import Container, ContainerState, ContainerStateTerminated, EnvVar
from ketch.kube.types.coordination import Lease, LeaseSpec
from ketch.kube.types.core import Pod, PodSpec, Service
from ketch.kube.types.volumes import EmptyDirVolume, Volume

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "a",
        "namespace": "n",
        "creationTimestamp": "2030-01-01T00:00:00Z",
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "new": 1}],
    },
    "spec": {
        "containers": [
            {
                "name": "main",
                "image": "python:3.12",
                "resources": {"limits": {"cpu": "1"}, "claims": [{"name": "gpu"}]},
                "livenessProbe": {"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 3},
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "future": {"of": ["unknown"]},
            }
        ],
        "volumes": [
            {"name": "v", "emptyDir": {}},
            {"name": "d", "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.uid"}}]}},
            {"name": "n", "nfs": {"server": "s", "path": "/"}},
        ],
        "hostPID": True,
        "nodeName": "node",
    },
    "status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "hostIP": "10.1.1.1", "qosClass": "Burstable"},
}


def all_kinds() -> list[type[KubeObject]]:
    for module in pkgutil.iter_modules(ketch.kube.types.__path__, "ketch.kube.types."):
        importlib.import_module(module.name)
    found = KubeObject.__subclasses__()
    return [kind for kind in found if kind.__module__.startswith("ketch.kube.types.")]


def test_who_owns_which_field_is_left_to_the_server():
    owned = POD["metadata"] | {"managedFields": [{"manager": "m"}]}
    assert decode(Pod, POD | {"metadata": owned}) == decode(Pod, POD)


def test_what_is_read_is_written_back_whole():
    assert decode(Pod, POD).to_json() == POD


def test_attributes_say_what_the_wire_says():
    pod = decode(Pod, POD)
    assert pod.key == ObjectKey("n", "a")
    assert pod.metadata.creation_timestamp == datetime(2030, 1, 1, tzinfo=UTC)
    assert pod.spec.containers[0].liveness_probe.http_get.port == "http"
    assert pod.spec.volumes[1].downward_api.items[0].field_ref.field_path == "metadata.uid"
    assert pod.spec.volumes[2].unknown_fields == {"nfs": {"server": "s", "path": "/"}}
    assert (pod.spec.host_pid, pod.status.pod_ip, pod.status.qos_class) == (True, "10.0.0.1", "Burstable")


def test_a_changed_field_leaves_unknown_ones_alone():
    pod = decode(Pod, POD)
    changed = msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, node_name="other"))
    assert changed.to_json() == {**POD, "spec": {**POD["spec"], "nodeName": "other"}}


def test_defaults_are_not_sent_and_zeros_that_mean_something_are():
    container = Container(name="c", env=(EnvVar(name="EMPTY"),))
    pod = Pod(metadata=ObjectMeta(name="a"), spec=PodSpec(containers=(container,), termination_grace_period_seconds=0))
    assert pod.to_json()["spec"] == {
        "containers": [{"name": "c", "env": [{"name": "EMPTY"}]}],
        "terminationGracePeriodSeconds": 0,
    }
    ended = ContainerState(terminated=ContainerStateTerminated(exit_code=0))
    assert encode(ended) == {"terminated": {"exitCode": 0}}
    assert encode(Volume(name="v", empty_dir=EmptyDirVolume())) == {"name": "v", "emptyDir": {}}


def test_nulls_count_as_absent():
    assert decode(Service, {"metadata": {"name": "s"}, "spec": {"selector": None, "ports": None}}).spec.ports == ()


def test_lease_times_always_have_microseconds():
    lease = Lease(spec=LeaseSpec(renew_time=datetime(2030, 1, 1, tzinfo=UTC)))
    assert encode(lease.spec) == {"renewTime": "2030-01-01T00:00:00.000000Z"}
    assert decode(LeaseSpec, encode(lease.spec)) == lease.spec


def test_kinds_known_at_run_time_only():
    kind = unstructured(Resource("example.com", "v1", "Widget", "widgets"))
    raw = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}
    widget = decode(kind, raw)
    assert widget.raw["spec"] == {"size": 3}
    assert widget.to_json() == raw
    assert unstructured(Resource("example.com", "v1", "Widget", "widgets")) is kind


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.__name__)
def test_an_empty_object_of_every_kind_goes_both_ways(kind):
    obj = kind(metadata=ObjectMeta(name="x"))
    assert decode(kind, obj.to_json()) == obj


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1, max_size=8).map("x-{}".format), JSON), st.dictionaries(st.text(), st.text()))
def test_any_unknown_field_at_any_level_survives(unknown, labels):
    raw = {
        **unknown,
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**unknown, "name": "a", **({"labels": labels} if labels else {})},
        "spec": {**unknown, "containers": [{**unknown, "name": "c"}]},
    }
    assert decode(Pod, raw).to_json() == raw
