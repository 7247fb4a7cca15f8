"""What a container's variables are, by tables."""

import base64

import pytest

from ketch.kube.codec import decode
from ketch.kube.types.core import ConfigMap, Pod, Secret, Service
from ketch.local.node.environment import (
    ConfigError,
    Surroundings,
    build_environment,
    expand,
    service_variables,
    with_given,
)


def a_pod(container, **spec):
    metadata = {
        "name": "web",
        "namespace": "team",
        "uid": "u1",
        "labels": {"app": "web", "tier": "a"},
        "annotations": {"note": 'say "hi"'},
    }
    body = {"containers": [{"name": "main", "image": "x", **container}], "serviceAccountName": "robot", **spec}
    return decode(Pod, {"metadata": metadata, "spec": body})


def a_service(name, namespace="team", ip="10.96.0.7", *ports):
    ports = ports or ({"port": 80, "name": "http"},)
    return decode(
        Service, {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ip, "ports": ports}}
    )


AROUND = Surroundings(
    pod_ip="10.244.0.9",
    host_ip="192.0.2.1",
    node_name="laptop",
    allocatable={"cpu": "4", "memory": "8Gi"},
    config_maps={"settings": decode(ConfigMap, {"data": {"a": "1", "b": "2"}}), "gone": None},
    secrets={"keys": decode(Secret, {"data": {"token": base64.b64encode(b"s3cret").decode()}}), "gone": None},
    services=(a_service("kubernetes", "default", "10.96.0.1", {"port": 443, "name": "https"}), a_service("my-db")),
)


def environment(container, **spec):
    pod = a_pod(container, **spec)
    return build_environment(pod, pod.spec.containers[0], AROUND)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        pytest.param("$(A)", "1", id="a name"),
        pytest.param("x$(A)y$(B)", "x1y2", id="names between text"),
        pytest.param("$(C)", "$(C)", id="a name without a value stays"),
        pytest.param("$$(A)", "$(A)", id="escaped"),
        pytest.param("$$$(A)", "$1", id="a dollar before a name"),
        pytest.param("$A $", "$A $", id="shell syntax is not ours"),
        pytest.param("$(A", "$(A", id="unfinished"),
    ],
)
def test_expansion(text, expanded):
    assert expand(text, {"A": "1", "B": "2"}) == expanded


def value_from(**source):
    return {"env": [{"name": "V", "valueFrom": source}]}


@pytest.mark.parametrize(
    ("container", "value"),
    [
        pytest.param({"env": [{"name": "U", "value": "1"}, {"name": "V", "value": "$(U)0"}]}, "10", id="reference"),
        pytest.param(value_from(fieldRef={"fieldPath": "metadata.name"}), "web", id="name"),
        pytest.param(value_from(fieldRef={"fieldPath": "metadata.labels['app']"}), "web", id="one label"),
        pytest.param(value_from(fieldRef={"fieldPath": "status.podIP"}), "10.244.0.9", id="pod address"),
        pytest.param(value_from(fieldRef={"fieldPath": "spec.nodeName"}), "laptop", id="node"),
        pytest.param(value_from(fieldRef={"fieldPath": "spec.serviceAccountName"}), "robot", id="account"),
        pytest.param(value_from(configMapKeyRef={"name": "settings", "key": "a"}), "1", id="config map key"),
        pytest.param(value_from(secretKeyRef={"name": "keys", "key": "token"}), "s3cret", id="secret key"),
        pytest.param(value_from(secretKeyRef={"name": "gone", "key": "x", "optional": True}), None, id="optional"),
        pytest.param(value_from(resourceFieldRef={"resource": "limits.cpu"}), "4", id="limit defaults to the node's"),
        pytest.param(
            {**value_from(resourceFieldRef={"resource": "requests.cpu"}), "resources": {"requests": {"cpu": "1500m"}}},
            "2",
            id="rounded up",
        ),
        pytest.param(
            {
                **value_from(resourceFieldRef={"resource": "limits.memory", "divisor": "1Mi"}),
                "resources": {"limits": {"memory": "64Mi"}},
            },
            "64",
            id="divisor",
        ),
    ],
)
def test_one_value(container, value):
    assert environment(container).get("V") == value


def test_all_keys_of_an_object_come_with_a_prefix_and_env_wins():
    container = {
        "envFrom": [{"prefix": "S_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "keys"}}],
        "env": [{"name": "S_a", "value": "mine"}],
    }
    found = environment(container)
    assert {name: found[name] for name in ("S_a", "S_b", "token")} == {"S_a": "mine", "S_b": "2", "token": "s3cret"}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        pytest.param({"envFrom": [{"configMapRef": {"name": "gone"}}]}, 'configmap "gone" not found', id="config map"),
        pytest.param(value_from(secretKeyRef={"name": "gone", "key": "x"}), 'secret "gone" not found', id="secret"),
        pytest.param(
            value_from(configMapKeyRef={"name": "settings", "key": "z"}),
            "couldn't find key z in ConfigMap team/settings",
            id="key",
        ),
    ],
)
def test_what_is_missing_is_named(container, message):
    with pytest.raises(ConfigError, match=message):
        environment(container)


def test_services_are_announced_unless_unwanted_and_the_api_server_always():
    found = service_variables(a_pod({}), AROUND.services)
    assert found["MY_DB_SERVICE_HOST"] == "10.96.0.7"
    assert found["MY_DB_SERVICE_PORT_HTTP"] == "80"
    assert found["MY_DB_PORT_80_TCP"] == "tcp://10.96.0.7:80"
    bare = service_variables(a_pod({}, enableServiceLinks=False), AROUND.services)
    assert (bare["KUBERNETES_SERVICE_HOST"], bare["KUBERNETES_SERVICE_PORT"]) == ("10.96.0.1", "443")
    assert not [name for name in bare if name.startswith("MY_DB")]


def test_a_proxy_of_the_containers_own_is_its_proxy_in_small_letters_too():
    given = {"http_proxy": "node", "HTTP_PROXY": "node", "no_proxy": "node", "NO_PROXY": "node", "SSL_CERT_FILE": "x"}
    own = {"HTTP_PROXY": "own", "no_proxy": ""}
    assert with_given(own, given) == {"HTTP_PROXY": "own", "no_proxy": "", "SSL_CERT_FILE": "x"}
