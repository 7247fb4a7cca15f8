"""kfp-kubernetes: every setting, seen by the step itself or on its pod."""

import json
from collections.abc import Mapping
from typing import Any, Optional

import yaml
from kfp import dsl, kubernetes
from tests.e2e.pipelines.conformance.cases import FAILED, SUCCEEDED, Expect, Family
from tests.e2e.pipelines.conformance.driving import Driver
from tests.e2e.pipelines.conformance.seen import Seen
from tests.e2e.pipelines.conformance.steps import add, light, say, shell

family = Family("kubernetes")

SECRET, CONFIG, CLAIM = "conformance-secret", "conformance-config", "conformance-claim"


def prepare(driver: Driver) -> None:
    """The objects that pipelines here refer to."""

    def meta(name: str) -> dict[str, str]:
        return {"name": name, "namespace": "kubeflow"}

    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}
    driver.platform.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": meta(SECRET),
            "stringData": {"user": "u", "pass.txt": "p w"},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta(CONFIG),
            "data": {"colour": "blue", "a.txt": "x\ny"},
        },
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta(CLAIM), "spec": claim},
    )


def pod_of(driver: Driver, seen: Seen, path: str) -> Mapping[str, Any]:
    """The pod that ran a task."""
    name = [each for each in seen.tasks[path].message["pods"] if each.get("type") != "DRIVER"][-1]["name"]
    return driver.platform.get("pod", name, "--namespace", "kubeflow")


@light
def _environment(names: list) -> list:
    import os

    return [os.environ.get(name) for name in names]


@light
def _files(path: str) -> dict:
    import os

    names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    return {name: open(os.path.join(path, name)).read() for name in names}


# Settings are no part of the cache's key, as upstream: equal calls would give each other's results.
def environment(**arguments: Any) -> Any:
    return _environment(**arguments).set_caching_options(False)


def files(**arguments: Any) -> Any:
    return _files(**arguments).set_caching_options(False)


KEYS = {"user": "USER_NAME", "pass.txt": "PASSWORD"}


@family.case(
    Expect(
        outputs={
            "environment.Output": ["u", "p w", None],
            "environment-2.Output": ["u", None],
            "environment-3.Output": ["u"],
            "for-loop-2/0/environment-4.Output": ["u"],
            "environment-5.Output": [None],
        }
    ),
    secret=SECRET,
)
@dsl.pipeline(name="secrets-as-variables")
def secrets_as_variables(secret: str, missing: Optional[str] = None):
    kubernetes.use_secret_as_env(environment(names=["USER_NAME", "PASSWORD", "OTHER"]), SECRET, KEYS)
    task = environment(names=["USER_NAME", "GONE"])
    kubernetes.use_secret_as_env(task, secret, {"user": "USER_NAME"})
    kubernetes.use_secret_as_env(task, "not-there", {"user": "GONE"}, optional=True)
    kubernetes.use_secret_as_env(environment(names=["USER_NAME"]), say(text=SECRET).output, {"user": "USER_NAME"})
    with dsl.ParallelFor([SECRET]) as item:
        kubernetes.use_secret_as_env(environment(names=["USER_NAME"]), item, {"user": "USER_NAME"})
    kubernetes.use_secret_as_env(environment(names=["USER_NAME"]), missing, {"user": "USER_NAME"})


@dsl.pipeline(name="with-a-secret")
def with_a_secret(secret: str) -> list:
    task = environment(names=["USER_NAME"])
    kubernetes.use_secret_as_env(task, secret, {"user": "USER_NAME"})
    return task.output


@family.case(
    Expect(
        outputs={
            "for-loop-2/0/environment.Output": ["u"],
            "for-loop-2/0/condition-3/environment-2.Output": ["u", "blue"],
            "with-a-secret.Output": ["u"],
            "for-loop-2/0/with-a-secret-2.Output": ["u"],
        }
    ),
    config=CONFIG,
)
@dsl.pipeline(name="names-from-fields-of-items-and-from-outside")
def names_from_everywhere(config: str):
    made = say(text=SECRET)
    with_a_secret(secret=made.output)
    with dsl.ParallelFor([{"secret": SECRET, "word": "x"}]) as item:
        kubernetes.use_secret_as_env(environment(names=["USER_NAME"]), item.secret, {"user": "USER_NAME"})
        with dsl.If(item.word == "x"):
            task = environment(names=["USER_NAME", "COLOUR"])
            kubernetes.use_secret_as_env(task, made.output, {"user": "USER_NAME"})
            kubernetes.use_config_map_as_env(task, config, {"colour": "COLOUR"})
        with_a_secret(secret=item.secret)


@family.case(
    Expect(
        outputs={
            "files.Output": {"user": "u", "pass.txt": "p w"},
            "files-2.Output": {"user": "u", "pass.txt": "p w"},
            "files-3.Output": {},
        }
    ),
    secret=SECRET,
)
@dsl.pipeline(name="secrets-as-files")
def secrets_as_files(secret: str):
    kubernetes.use_secret_as_volume(files(path="/mnt/secret"), SECRET, "/mnt/secret")
    kubernetes.use_secret_as_volume(files(path="/mnt/secret"), secret, "/mnt/secret")
    kubernetes.use_secret_as_volume(files(path="/mnt/secret"), "not-there", "/mnt/secret", optional=True)


@family.case(
    Expect(outputs={"environment.Output": ["blue", None], "files.Output": {"colour": "blue", "a.txt": "x\ny"}}),
    config=CONFIG,
)
@dsl.pipeline(name="config-maps-as-variables-and-files")
def config_maps(config: str):
    task = environment(names=["COLOUR", "GONE"])
    kubernetes.use_config_map_as_env(task, config, {"colour": "COLOUR"})
    kubernetes.use_config_map_as_env(task, CONFIG, {"nothing": "GONE"}, optional=True)
    kubernetes.use_config_map_as_volume(files(path="/etc/app"), say(text=CONFIG).output, "/etc/app")


@family.case(
    Expect(
        FAILED,
        states={"say": FAILED, "say-2": FAILED, "say-3": FAILED},
        errors={"say": 'secret "gone-1" not found', "say-2": 'configmap "gone-2" not found', "say-3": "gone-3"},
    )
)
@dsl.pipeline(name="what-is-missing-is-named")
def what_is_missing():
    kubernetes.use_secret_as_env(say(text="x"), "gone-1", {"a": "A"})
    kubernetes.use_config_map_as_volume(say(text="x"), "gone-2", "/x")
    kubernetes.use_secret_as_volume(say(text="x"), "gone-3", "/x")


@light
def leave(path: str, text: str) -> str:
    with open(path, "w") as file:
        file.write(text)
    return text


@light
def fetch(path: str) -> str:
    return open(path).read()


@family.case(Expect(outputs={"fetch.Output": "left", "fetch-2.Output": "left"}), claim=CLAIM)
@dsl.pipeline(name="a-claim-is-shared-by-steps")
def a_claim(claim: str):
    left = leave(path="/data/file", text="left")
    kubernetes.mount_pvc(left, CLAIM, "/data")
    kubernetes.mount_pvc(left, CLAIM, "/also", sub_path="part")
    kubernetes.mount_pvc(fetch(path="/data/file").after(left), claim, "/data")
    kubernetes.mount_pvc(fetch(path="/other/file").after(left), say(text=CLAIM).output, "/other")


@family.case(Expect(outputs={"fetch.Output": "kept"}))
@dsl.pipeline(name="a-claim-is-made-used-and-deleted")
def claim_made():
    claim = kubernetes.CreatePVC(pvc_name_suffix="-conformance", access_modes=["ReadWriteOnce"], size="5Mi")
    name = claim.outputs["name"]
    left = leave(path="/data/file", text="kept")
    kubernetes.mount_pvc(left, name, "/data")
    fetched = fetch(path="/data/file").after(left)
    kubernetes.mount_pvc(fetched, name, "/data")
    kubernetes.DeletePVC(pvc_name=name).after(fetched)


@family.case(
    Expect(outputs={"environment.Output": ["kubeflow", "blue", "note: ü", "local"]}),
)
@dsl.pipeline(name="labels-annotations-and-fields-of-the-pod")
def fields_of_the_pod():
    task = environment(names=["NS", "LABEL", "NOTE", "NODE"])
    kubernetes.add_pod_label(task, "example.com/colour", "blue")
    kubernetes.add_pod_annotation(task, "example.com/note", "note: ü")
    kubernetes.use_field_path_as_env(task, "NS", "metadata.namespace")
    kubernetes.use_field_path_as_env(task, "LABEL", "metadata.labels['example.com/colour']")
    kubernetes.use_field_path_as_env(task, "NOTE", "metadata.annotations['example.com/note']")
    kubernetes.use_field_path_as_env(task, "NODE", "spec.nodeName")


@light
def sleep(seconds: float) -> str:
    import time

    time.sleep(seconds)
    return "woke"


@family.case(
    Expect(
        FAILED,
        states={"sleep": FAILED, "sleep-2": SUCCEEDED},
        errors={"sleep": "DeadlineExceeded"},
    )
)
@dsl.pipeline(name="a-step-that-takes-too-long")
def takes_too_long():
    kubernetes.set_timeout(sleep(seconds=300.0), 1)
    kubernetes.set_timeout(sleep(seconds=0.0), 200)


@light
def volume(path: str) -> dict:
    import os

    with open(os.path.join(path, "file"), "w") as file:
        file.write("x" * 1000)
    kinds = {line.split()[1]: line.split()[2] for line in open("/proc/mounts")}
    return {"kind": "memory" if kinds[path] == "tmpfs" else "disk", "files": os.listdir(path)}


@family.case(
    Expect(
        outputs={
            "volume.Output": {"kind": "disk", "files": ["file"]},
            "volume-2.Output": {"kind": "memory", "files": ["file"]},
            "volume-3.Output": {"kind": "disk", "files": ["file"]},
        }
    )
)
@dsl.pipeline(name="volumes-of-the-pods-own")
def own_volumes():
    kubernetes.empty_dir_mount(volume(path="/scratch"), "scratch", "/scratch")
    kubernetes.empty_dir_mount(volume(path="/dev/shm"), "shm", "/dev/shm", medium="Memory", size_limit="64Mi")
    task = volume(path="/big")
    kubernetes.add_ephemeral_volume(
        task, "big", "/big", ["ReadWriteOnce"], "5Mi", labels={"example.com/kind": "big"}, annotations={"a": "b"}
    )


@light
def identity() -> list:
    import os

    capabilities = [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")]
    return [os.getuid(), os.getgid(), int(capabilities[0], 16)]


def _ordinary(seen: Seen) -> None:
    assert seen.output("identity-2.Output")[0] != 0, seen.story()


@family.case(Expect(outputs={"identity.Output": [1234, 4321, 0]}, check=_ordinary))
@dsl.pipeline(name="who-the-process-is")
def who_the_process_is():
    kubernetes.set_security_context(identity(), run_as_user=1234, run_as_group=4321)
    kubernetes.set_security_context(identity(), run_as_non_root=True)


@family.case(
    Expect(
        FAILED,
        states={"identity": FAILED},
        errors={"identity": "non-root"},
    )
)
@dsl.pipeline(name="root-where-root-may-not-be")
def root_is_refused():
    kubernetes.set_security_context(identity(), run_as_user=0, run_as_non_root=True)


@dsl.pipeline(name="placed-on-nodes")
def placed(selector: dict, tolerations: list, affinity: dict, nothing: Optional[dict] = None):
    task = add(a=1)
    kubernetes.add_node_selector(task, "kubernetes.io/os", "linux")
    kubernetes.add_toleration(task, "example.com/gpu", "Equal", "yes", "NoSchedule")
    kubernetes.add_toleration_json(task, tolerations)
    kubernetes.add_node_affinity(task, [{"key": "kubernetes.io/hostname", "operator": "Exists"}])
    kubernetes.add_node_affinity(task, [{"key": "disk", "operator": "In", "values": ["ssd"]}], weight=7)
    kubernetes.add_node_affinity_json(task, affinity)
    kubernetes.set_image_pull_policy(task, "IfNotPresent")
    kubernetes.set_image_pull_secrets(task, ["registry"])
    other = add(a=2)
    kubernetes.add_node_selector_json(other, selector)
    kubernetes.add_toleration_json(other, nothing)
    kubernetes.add_node_affinity_json(other, nothing)


@family.scenario
def where_a_step_may_run(driver: Driver) -> None:
    toleration = {"key": "example.com/tpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
    preferred = [{"weight": 3, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}]
    seen = driver.run(
        placed,
        selector={"kubernetes.io/os": "linux"},
        tolerations=[toleration],
        affinity={"preferredDuringSchedulingIgnoredDuringExecution": preferred},
    )
    assert seen.run.state == SUCCEEDED, seen.story()
    spec = pod_of(driver, seen, "add")["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
    ours = [each for each in spec["tolerations"] if each["key"].startswith("example.com")]
    assert ours == [
        {"key": "example.com/gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"},
        toleration,
    ]
    affinity = spec["affinity"]["nodeAffinity"]
    assert [each["weight"] for each in affinity["preferredDuringSchedulingIgnoredDuringExecution"]] == [7, 3]
    assert affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] == [
        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "Exists"}]}
    ]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    other = pod_of(driver, seen, "add-2")["spec"]
    assert other["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert "affinity" not in other


@dsl.pipeline(name="a-node-that-is-not-there")
def nowhere():
    kubernetes.add_node_selector(say(text="x"), "disk", "gold")


@family.scenario
def a_step_that_fits_no_node_waits_and_says_why(driver: Driver) -> None:
    from tests.e2e.platforms import eventually

    run_id = driver.start(nowhere)
    eventually(lambda: "node affinity/selector" in driver.seen(run_id).error("say"), what="the reason")
    driver.client.terminate_run(run_id)
    assert driver.ended(run_id).run.state in ("FAILED", "CANCELED")


@dsl.pipeline(name="init-containers")
def with_init_containers():
    task = shell(script="cat /work/first; cat /work/beside; ls /dev/shm; hostname | wc -l")
    kubernetes.empty_dir_mount(task, "work", "/work")


INIT = [
    {
        "name": "first",
        "image": "alpine:3",
        "command": ["sh", "-c"],
        "args": ["echo $WORD > /w/first"],
        "env": [{"name": "WORD", "value": "before {{$.pipeline_task_name}}"}],
        "volumeMounts": [{"volumeName": "work", "mountPath": "/w"}],
    },
    {
        "name": "beside",
        "image": "alpine:3",
        "command": ["sh", "-c", "trap 'exit 0' TERM; echo beside > /w/beside; while :; do sleep 0.1; done"],
        "volumeMounts": [{"volumeName": "work", "mountPath": "/w"}],
        "restartPolicy": "Always",
    },
]


@family.scenario
def containers_before_and_beside_a_step(driver: Driver) -> None:
    """This SDK cannot write them yet; its next release can."""
    package = driver.compile(with_init_containers)
    with open(package) as file:
        spec, platform = yaml.safe_load_all(file)
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-shell"]
    settings["initContainers"] = INIT
    settings["enabledSharedMemory"] = {"volumeName": "memory", "size": "16Mi"}
    settings["podAffinity"] = [{"matchPodLabels": {"no": "pod"}, "topologyKey": "kubernetes.io/hostname", "anti": True}]
    target = package.replace(".yaml", "-more.yaml")
    with open(target, "w") as file:
        yaml.safe_dump_all([spec, platform], file)
    result = driver.client.create_run_from_pipeline_package(target, arguments={})
    seen = driver.ended(result.run_id)
    assert seen.run.state == SUCCEEDED, seen.story()
    assert seen.output("shell.said") == "before shell\nbeside\n1\n"
    affinity = pod_of(driver, seen, "shell")["spec"]["affinity"]
    assert "podAntiAffinity" in affinity, json.dumps(affinity)


@dsl.pipeline(name="wrong-settings")
def wrong():
    kubernetes.add_toleration(say(text="x"), "k", "Equal", "v", "NoSchedule")


@family.scenario
def wrong_settings_are_refused_by_their_field(driver: Driver) -> None:
    import kfp_server_api
    import pytest

    package = driver.compile(wrong)
    with open(package) as file:
        text = file.read()
    target = package.replace(".yaml", "-changed.yaml")
    with open(target, "w") as file:
        file.write(text.replace("effect: NoSchedule", "effect: Never"))
    with pytest.raises(kfp_server_api.ApiException, match=r"exec-say\.tolerations\.0\.effect: 'Never' is none of"):
        driver.client.create_run_from_pipeline_package(target, arguments={})


@family.case(
    Expect(FAILED, states={"say": FAILED}, errors={"say": "the toleration has no field 'keys'"}),
    toleration={"keys": "k"},
)
@dsl.pipeline(name="wrong-values-of-settings-fail-the-step")
def wrong_values(toleration: dict):
    kubernetes.add_toleration_json(say(text="x"), toleration)
