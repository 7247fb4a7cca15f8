"""kubeconfig files as people have them."""

import base64
import json

import pytest

from ketch.kube.config import ClusterConfig, ConfigError, ExecPlugin, in_cluster, load_config

CERTIFICATE, KEY, AUTHORITY = "-- certificate --\n", "-- key --\n", "-- authority --\n"


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def content(cluster=None, user=None, namespace="team", current="main"):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://example.com:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [
            {"name": "main", "context": {"cluster": "c", "user": "u", "namespace": namespace}},
            {"name": "other", "context": {"cluster": "c"}},
        ],
        "current-context": current,
    }


@pytest.fixture
def file(tmp_path):
    def write(name="config", **parts):
        path = tmp_path / name
        path.write_text(json.dumps(content(**parts)))
        return path

    return write


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("ketch.kube.config.SERVICE_ACCOUNT", tmp_path / "serviceaccount")


def test_certificates_inline(file):
    path = file(
        cluster={"certificate-authority-data": encoded(AUTHORITY)},
        user={"client-certificate-data": encoded(CERTIFICATE), "client-key-data": encoded(KEY)},
    )
    assert load_config(path) == ClusterConfig(
        "https://example.com:6443",
        namespace="team",
        authority=AUTHORITY,
        client_certificate=CERTIFICATE,
        client_key=KEY,
    )


def test_certificates_in_files_beside_the_kubeconfig(file, tmp_path):
    for name, text in (("ca.crt", AUTHORITY), ("me.crt", CERTIFICATE), ("me.key", KEY)):
        (tmp_path / name).write_text(text)
    path = file(
        cluster={"certificate-authority": "ca.crt"}, user={"client-certificate": "me.crt", "client-key": "me.key"}
    )
    config = load_config(path)
    assert (config.authority, config.client_certificate, config.client_key) == (AUTHORITY, CERTIFICATE, KEY)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"token": "t"}, {"token": "t"}),
        ({"username": "me", "password": "secret"}, {"basic": ("me", "secret")}),
        (
            {
                "exec": {
                    "apiVersion": "client.authentication.k8s.io/v1",
                    "command": "login",
                    "args": ["a"],
                    "env": [{"name": "N", "value": "v"}],
                    "interactiveMode": "Never",
                    "provideClusterInfo": True,
                }
            },
            {
                "exec": ExecPlugin(
                    "client.authentication.k8s.io/v1", "login", ("a",), {"N": "v"}, provide_cluster_info=True
                )
            },
        ),
    ],
    ids=["token", "basic", "exec"],
)
def test_users(file, user, expected):
    assert load_config(file(user=user)) == ClusterConfig("https://example.com:6443", namespace="team", **expected)


def test_a_token_file_is_found_beside_the_kubeconfig(file, tmp_path):
    config = load_config(file(user={"tokenFile": "token", "token": "old"}))
    assert (config.token_file, config.token) == (tmp_path / "token", "")


def test_the_cluster_in_full(file):
    cluster = {"insecure-skip-tls-verify": True, "tls-server-name": "kubernetes", "proxy-url": "http://proxy:3128"}
    config = load_config(file(cluster=cluster))
    assert (config.insecure, config.server_name, config.proxy_url) == (True, "kubernetes", "http://proxy:3128")


def test_a_context_by_name(file):
    config = load_config(file(user={"token": "t"}), "other")
    assert (config.token, config.namespace) == ("", "default")


def test_yaml(tmp_path):
    path = tmp_path / "config"
    path.write_text(
        "clusters: [{name: c, cluster: {server: 'http://here'}}]\n"
        "contexts: [{name: x, context: {cluster: c}}]\n"
        "current-context: x\n"
    )
    assert load_config(path) == ClusterConfig("http://here")


def test_several_files_the_first_counts(file, tmp_path, monkeypatch):
    first, second = file("1", user={"token": "first"}), file("2", user={"token": "second"})
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'absent'}:{first}:{second}")
    assert load_config().token == "first"


def test_the_home_directory_comes_next(file, tmp_path):
    (tmp_path / "home/.kube").mkdir(parents=True)
    file("home/.kube/config", user={"token": "home"})
    assert load_config().token == "home"


def test_a_pod_knows_its_cluster(tmp_path, monkeypatch):
    account = tmp_path / "serviceaccount"
    account.mkdir()
    for name, text in (("token", "t"), ("namespace", "mine"), ("ca.crt", AUTHORITY)):
        (account / name).write_text(text)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    expected = ClusterConfig(
        "https://10.96.0.1:443", namespace="mine", authority=AUTHORITY, token_file=account / "token"
    )
    assert load_config() == in_cluster(account) == expected


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"current": "absent"}, "absent"),
        ({"current": ""}, "context"),
        ({"cluster": {"certificate-authority": "absent.crt"}}, r"cannot read .*absent\.crt"),
        ({"cluster": {"certificate-authority-data": "%"}}, "base64"),
        ({"cluster": {"server": 3}}, "server"),
        ({"user": {"auth-provider": {"name": "gcp"}}}, "exec plugin"),
    ],
)
def test_what_is_wrong_is_said(file, parts, message):
    with pytest.raises(ConfigError, match=message):
        load_config(file(**parts))


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "a: b: c"])
def test_files_that_are_none(tmp_path, text):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ConfigError, match="config"):
        load_config(path)


def test_no_file_at_all(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "absent")
    with pytest.raises(ConfigError, match="no cluster configured"):
        load_config()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="KUBECONFIG names no file"):
        load_config()


def test_secrets_do_not_show(file):
    shown = repr(load_config(file(user={"token": "s3cret", "username": "me", "password": "s3cret"})))
    assert "s3cret" not in shown
