"""What `ketch export` prints."""

import yaml
from typer.testing import CliRunner

from ketch.cli.main import application
from ketch.cli.manager.manifests import Installation, manifests

RUNNER = CliRunner()


def test_every_object_names_its_kind_and_place() -> None:
    objects = list(manifests(Installation("registry/ketch:1", namespace="system")))
    kinds = [each["kind"] for each in objects]
    assert kinds.index("Namespace") < kinds.index("ServiceAccount") < kinds.index("Deployment")
    assert kinds.count("Namespace") == 3  # the manager's, that of runs, and the Trainer's
    for each in objects:
        assert each["apiVersion"], each["metadata"]["name"]
        if each["kind"] in ("ServiceAccount", "Role", "RoleBinding", "Service", "Deployment", "PersistentVolumeClaim"):
            assert each["metadata"]["namespace"] == "system"


def test_bindings_are_of_the_account_and_of_roles_that_are_there() -> None:
    objects = list(manifests(Installation("x", namespace="system")))
    roles = {(each["kind"], each["metadata"]["name"]) for each in objects if each["kind"] in ("Role", "ClusterRole")}
    bindings = [each for each in objects if each["kind"].endswith("Binding")]
    assert len(bindings) == len(roles) == 3
    for each in bindings:
        assert (each["roleRef"]["kind"], each["roleRef"]["name"]) in roles
    subjects = {(each["subjects"][0]["kind"], each["subjects"][0]["name"]) for each in bindings}
    assert subjects == {("ServiceAccount", "ketch-manager"), ("Group", "system:nodes")}


def test_nothing_is_granted_without_bounds() -> None:
    rules = [rule for each in manifests(Installation("x")) for rule in each.get("rules", ())]
    assert all("*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"]) for rule in rules)


def test_a_database_of_its_own_stands_for_the_volume() -> None:
    objects = {each["kind"]: each for each in manifests(Installation("x", replicas=2, database="database"))}
    assert "PersistentVolumeClaim" not in objects
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert pod["volumes"][0] == {"name": "data", "emptyDir": {}}
    assert pod["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "database", "key": "url"}


def test_the_command_prints_yaml_and_refuses_replicas_that_cannot_share() -> None:
    printed = RUNNER.invoke(application, ["export", "--image", "x"])
    assert printed.exit_code == 0
    assert list(yaml.safe_load_all(printed.stdout)) == list(manifests(Installation("x")))
    refused = RUNNER.invoke(application, ["export", "--image", "x", "--replicas", "2"])
    assert refused.exit_code == 2
    assert "--database-secret" in refused.stderr
