"""What each setting makes of a step's pod."""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.pipelines.kubernetes.building import GIVEN, a_pod, a_step, amended, constant, of_input, of_task

from ketch.kube.codec import encode
from ketch.kube.types.pods import Pod
from ketch.pipelines.kubernetes.amending import amend, settings
from ketch.pipelines.kubernetes.settings import claim_names
from ketch.pipelines.steps.step import PodProblem


def main(pod: Pod) -> Mapping[str, Any]:
    return encode(pod.spec.containers[0])


def env(pod: Pod) -> list[Mapping[str, Any]]:
    return main(pod)["env"][1:]


def mounts(pod: Pod) -> dict[str, Any]:
    """The volume's source and what else its mount says, by mount path."""
    sources = {each.pop("name"): each for each in encode(pod.spec)["volumes"]}
    found = {each.pop("mountPath"): {**sources[each.pop("name")], **each} for each in main(pod)["volumeMounts"]}
    del found["/data"]
    return found


def test_a_step_without_settings_keeps_its_pod() -> None:
    pod = a_pod()
    assert amend(a_step({}), pod) is pod


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ({"secretName": "old"}, "old"),
        ({"secretNameParameter": constant("new"), "secretName": "old"}, "new"),
        ({"secretNameParameter": of_input("name")}, "from-input"),
        ({"secretNameParameter": of_task("make")}, "from-task"),
        ({"secretNameParameter": constant("s-{{$.inputs.parameters['size']}}")}, "s-big"),
        ({"secretNameParameter": of_input("nothing")}, None),
        ({"secretNameParameter": of_input("unset")}, None),
    ],
)
def test_names_come_from_all_sources_and_null_leaves_the_setting_out(
    name: Mapping[str, Any], expected: str | None
) -> None:
    keys = [{"secretKey": "k", "envVar": "K"}, {"secretKey": "l", "envVar": "L"}]
    pod = amended(
        {
            "secretAsEnv": [{**name, "keyToEnv": keys}],
            "secretAsVolume": [{**name, "mountPath": "/s"}],
            "imagePullSecret": [name, name],
        }
    )
    if expected is None:
        assert (env(pod), mounts(pod), pod.spec.image_pull_secrets) == ([], {}, ())
        return
    assert env(pod) == [
        {"name": "K", "valueFrom": {"secretKeyRef": {"name": expected, "key": "k"}}},
        {"name": "L", "valueFrom": {"secretKeyRef": {"name": expected, "key": "l"}}},
    ]
    assert mounts(pod) == {"/s": {"secret": {"secretName": expected, "optional": False}}}
    assert [each.name for each in pod.spec.image_pull_secrets] == [expected]


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (of_input("number"), "must be text, not number"),
        (of_input("empty"), "must not be empty"),
        (of_task("other"), 'has no value: task "other" gave no output "Output"'),
        (constant("{{$.inputs.parameters}}"), "names nothing that this task has"),
    ],
)
def test_a_name_that_is_none_fails_the_task_in_words(parameter: Mapping[str, Any], message: str) -> None:
    with pytest.raises(PodProblem, match=message):
        amended({"secretAsVolume": [{"secretNameParameter": parameter, "mountPath": "/s"}]})


@pytest.mark.parametrize("optional", [True, False, None])
def test_config_maps_are_variables_and_files(optional: bool | None) -> None:
    wanted = {"configMapNameParameter": constant("c")} | ({} if optional is None else {"optional": optional})
    pod = amended(
        {
            "configMapAsEnv": [{**wanted, "keyToEnv": [{"configMapKey": "k", "envVar": "K"}]}],
            "configMapAsVolume": [{**wanted, "mountPath": "/c"}],
        }
    )
    reference = {"name": "c", "key": "k"} | ({} if optional is None else {"optional": optional})
    assert env(pod) == [{"name": "K", "valueFrom": {"configMapKeyRef": reference}}]
    assert mounts(pod) == {"/c": {"configMap": {"name": "c", "optional": bool(optional)}}}


def test_the_last_variable_of_a_name_wins_and_fields_of_the_pod_are_variables() -> None:
    pod = amended(
        {
            "secretAsEnv": [{"secretName": "s", "keyToEnv": [{"secretKey": "k", "envVar": "MINE"}]}],
            "fieldPathAsEnv": [{"name": "POD", "fieldPath": "metadata.name"}],
        }
    )
    assert main(pod)["env"] == [
        {"name": "MINE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ({"constant": "c"}, "c"),
        ({"pvcNameParameter": constant("c"), "constant": "old"}, "c"),
        ({"componentInputParameter": "name"}, "from-input"),
        (of_task("make"), "from-task"),
        ({"pvcNameParameter": of_task("make"), **of_task("make")}, "from-task"),
    ],
)
def test_claims_are_mounted_whatever_names_them(claim: Mapping[str, Any], expected: str) -> None:
    platform = {"pvcMount": [{**claim, "mountPath": "/p"}, {**claim, "mountPath": "/q", "subPath": "a/b"}]}
    pod = amended(platform)
    source = {"persistentVolumeClaim": {"claimName": expected}}
    assert mounts(pod) == {"/p": source, "/q": {**source, "subPath": "a/b"}}
    assert len(pod.spec.volumes) == 2  # one claim is one volume
    assert claim_names(settings(a_step(platform))) == [expected]


def test_volumes_have_names_that_the_api_takes_and_none_twice() -> None:
    long = "a" * 70
    pod = amended(
        {
            "secretAsVolume": [
                {"secretName": "app", "mountPath": "/a"},
                {"secretName": "my.secret", "mountPath": "/b"},
                {"secretName": long, "mountPath": "/c"},
                {"secretName": "data", "mountPath": "/d"},
                {"secretName": "app", "mountPath": "/e", "optional": True},
            ],
            "configMapAsVolume": [{"configMapName": "app", "mountPath": "/f"}],
            "emptyDirMounts": [
                {"volumeName": "outputs", "mountPath": "/g"},
                {"volumeName": "kfp-x", "mountPath": "/h"},
            ],
        }
    )
    names = [each.name for each in pod.spec.volumes]
    assert len(set(names)) == len(names) == 9
    assert names[:3] == ["data", "app", "my-secret"]
    assert names[4:] == ["data-2", "app-2", "app-3", "users-outputs", "users-kfp-x"]
    assert len(names[3]) == 63
    found = mounts(pod)
    assert [found[f"/{each}"]["secret"]["secretName"] for each in "abcde"] == ["app", "my.secret", long, "data", "app"]


def test_volumes_that_live_as_long_as_the_pod() -> None:
    pod = amended(
        {
            "emptyDirMounts": [
                {"volumeName": "e", "mountPath": "/e", "medium": "Memory", "sizeLimit": "1Gi"},
                {"volumeName": "e", "mountPath": "/e2", "medium": "Memory", "sizeLimit": "1Gi"},
            ],
            "enabledSharedMemory": {"volumeName": "shm", "size": "2Gi"},
            "genericEphemeralVolume": [
                {
                    "volumeName": "g",
                    "mountPath": "/g",
                    "accessModes": ["ReadWriteOnce"],
                    "size": "5Gi",
                    "defaultStorageClass": True,
                    "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
                },
                {
                    "volumeName": "h",
                    "mountPath": "/h",
                    "accessModes": ["ReadWriteMany"],
                    "size": "1Gi",
                    "storageClassName": "fast",
                },
            ],
        }
    )
    memory = {"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}

    def template(mode: str, size: str, **spec: str) -> Mapping[str, Any]:
        return {"spec": {"accessModes": [mode], "resources": {"requests": {"storage": size}}, **spec}}

    metadata = {"labels": {"a": "b"}, "annotations": {"c": "d"}}
    first = {**template("ReadWriteOnce", "5Gi"), "metadata": metadata}
    second = template("ReadWriteMany", "1Gi", storageClassName="fast")
    assert mounts(pod) == {
        "/e": memory,
        "/e2": memory,
        "/dev/shm": {"emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}},
        "/g": {"ephemeral": {"volumeClaimTemplate": first}},
        "/h": {"ephemeral": {"volumeClaimTemplate": second}},
    }
    assert [each.name for each in pod.spec.volumes] == ["data", "g", "h", "e", "shm"]


def test_labels_and_annotations_are_added_and_ours_stay() -> None:
    pod = amended(
        {
            "podMetadata": {
                "labels": {"team": "a", "app": "theirs", "run": "{{$.pipeline_job_uuid}}"},
                "annotations": {"note": "theirs", "size": "{{$.inputs.parameters['size']}}"},
            }
        }
    )
    assert pod.metadata.labels == {"team": "a", "app": "ours", "run": "run"}
    assert pod.metadata.annotations == {"note": "ours", "size": "big"}


def test_policy_deadline_and_identity() -> None:
    pod = amended(
        {
            "imagePullPolicy": "Always",
            "activeDeadlineSeconds": "20",
            "securityContext": {"runAsUser": "1000", "runAsGroup": 0, "runAsNonRoot": True},
        }
    )
    assert main(pod)["imagePullPolicy"] == "Always"
    assert pod.spec.active_deadline_seconds == 20
    assert main(pod)["securityContext"] == {
        "runAsUser": 1000,
        "runAsGroup": 0,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert amended({"activeDeadlineSeconds": 0}).spec.active_deadline_seconds is None


def test_init_containers_and_sidecars_share_the_volumes() -> None:
    pod = amended(
        {
            "emptyDirMounts": [{"volumeName": "data", "mountPath": "/e"}],
            "secretAsVolume": [{"secretName": "my.secret", "mountPath": "/s"}],
            "initContainers": [
                {
                    "name": "fetch",
                    "image": "busybox:1",
                    "command": ["sh", "-c"],
                    "args": ["echo {{$.inputs.parameters['size']}}"],
                    "env": [{"name": "A", "value": "{{$.pipeline_task_name}}"}],
                    "volumeMounts": [
                        {"volumeName": "data", "mountPath": "/x"},
                        {"volumeName": "my.secret", "mountPath": "/y"},
                    ],
                    "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
                },
                {"name": "beside", "image": "busybox:1", "restartPolicy": "Always"},
            ],
        }
    )
    fetch, beside = (encode(each) for each in pod.spec.init_containers)
    assert [each.name for each in pod.spec.volumes] == ["data", "my-secret", "data-2"]
    assert fetch["volumeMounts"] == [
        {"name": "data-2", "mountPath": "/x"},
        {"name": "my-secret", "mountPath": "/y"},
    ]
    assert fetch["args"] == ["echo big"]
    assert fetch["env"] == [{"name": "A", "value": "train"}]
    assert fetch["resources"] == {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}
    assert "restartPolicy" not in fetch
    assert beside["restartPolicy"] == "Always"


def test_an_init_container_mounts_what_is_there() -> None:
    container = {"name": "i", "image": "b", "volumeMounts": [{"volumeName": "other", "mountPath": "/x"}]}
    with pytest.raises(PodProblem, match="init container i: no setting defines the volume 'other'"):
        amended({"initContainers": [container]})


def test_items_of_loops_are_found_under_the_names_that_the_compiler_gives_them() -> None:
    given = {"pipelinechannel--loop-item-param-2": {"claim": "mine"}, "pipelinechannel--name": "prefixed", **GIVEN}
    mount = {"mountPath": "/p"}
    for name, expected in (
        ("loop-item-param-2-subvar-claim", "mine"),
        ("pipelinechannel--loop-item-param-2-subvar-claim", "mine"),
        ("pipelinechannel--name", "prefixed"),
        ("name", "from-input"),
    ):
        pod = amended({"pvcMount": [{**mount, "pvcNameParameter": of_input(name)}]}, given)
        assert mounts(pod) == {"/p": {"persistentVolumeClaim": {"claimName": expected}}}
    with pytest.raises(PodProblem, match='the item has no "other"'):
        amended({"pvcMount": [{**mount, "pvcNameParameter": of_input("loop-item-param-2-subvar-other")}]}, given)


def test_a_stored_configuration_that_cannot_be_read_fails_the_task() -> None:
    with pytest.raises(PodProblem, match="secretAsVolume"):
        amended({"secretAsVolume": 3})
