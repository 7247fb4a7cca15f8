"""create, get, update, patch, delete: what the API promises of every kind."""

import asyncio
from typing import Any

import pytest

from ketch.kube.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    UnsupportedMedia,
)
from ketch.kube.transport import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, Request
from ketch.local.apiserver.server import APIServer

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def config(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "python:3.11"}], **spec}}


def deployment(name: str = "web", replicas: int = 1) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": pod()["spec"]}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


async def test_a_new_object_has_an_identity(ask: Any) -> None:
    made = await ask("POST", MAPS, config(x="1"))
    meta = made["metadata"]
    assert (meta["name"], meta["namespace"], made["data"]) == ("a", "default", {"x": "1"})
    assert meta["uid"]
    assert meta["creationTimestamp"].endswith("Z")
    assert int(meta["resourceVersion"]) > 0
    assert await ask("GET", f"{MAPS}/a") == made


async def test_a_name_is_taken_once(ask: Any) -> None:
    await ask("POST", MAPS, config())
    with pytest.raises(AlreadyExists, match='configmaps "a" already exists'):
        await ask("POST", MAPS, config())


async def test_generated_names_differ(ask: Any) -> None:
    body = {"metadata": {"generateName": "job-"}}
    names = {(await ask("POST", MAPS, body))["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


async def test_a_generated_name_fits_a_label(ask: Any) -> None:
    made = await ask("POST", MAPS, {"metadata": {"generateName": "x" * 80}})
    assert len(made["metadata"]["name"]) == 63


@pytest.mark.parametrize(
    ("path", "body", "error", "message"),
    [
        pytest.param(MAPS, config("A_b"), Invalid, "lowercase RFC 1123 subdomain", id="bad name"),
        pytest.param(MAPS, {"metadata": {}}, Invalid, "name or generateName is required", id="no name"),
        pytest.param(MAPS, {**config(), "data": {"a": 1}}, Invalid, "must be of type string", id="wrong type"),
        pytest.param(MAPS, {**config(), "kind": "Secret"}, BadRequest, "cannot be handled as a ConfigMap", id="kind"),
        pytest.param(MAPS, [], BadRequest, "must be a ConfigMap object", id="no object"),
        pytest.param(MAPS, {**config(), "metadata": []}, BadRequest, "metadata: must be an object", id="bad metadata"),
        pytest.param(
            MAPS, {"metadata": {"name": "a", "namespace": "other"}}, BadRequest, "does not match", id="other namespace"
        ),
        pytest.param(MAPS.replace("default", "none"), config(), NotFound, 'namespaces "none" not found', id="absent"),
        pytest.param(
            MAPS, {"metadata": {"name": "a", "labels": {"-": "x"}}}, Invalid, "metadata.labels", id="bad label"
        ),
        pytest.param(
            PODS, {"metadata": {"name": "p"}, "spec": {}}, Invalid, "spec.containers: Required", id="no container"
        ),
        pytest.param(PODS, pod(restartPolicy="Sometimes"), Invalid, "spec.restartPolicy: Unsupported", id="policy"),
        pytest.param(PODS, pod(serviceAccountName="none"), Forbidden, "none", id="no service account"),
        pytest.param("/api/v1/configmaps", config(), MethodNotAllowed, "does not allow this method", id="no namespace"),
        pytest.param(f"{MAPS}/a", config(), MethodNotAllowed, "does not allow this method", id="create at a name"),
        pytest.param(
            "/api/v1/namespaces/default/nodes", {}, NotFound, "requested resource", id="cluster-scoped in a namespace"
        ),
        pytest.param("/api/v1/namespaces/default/frobs", {}, NotFound, "requested resource", id="no such resource"),
    ],
)
async def test_what_cannot_be_created(ask: Any, path: str, body: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        await ask("POST", path, body)
    listed = await ask("GET", MAPS)
    assert listed["items"] == []


async def test_an_invalid_object_names_every_field(ask: Any) -> None:
    body = pod(containers=[{"name": "A!", "image": ""}, {"name": "b", "image": "x", "ports": [{"containerPort": 0}]}])
    with pytest.raises(Invalid) as caught:
        await ask("POST", PODS, body)
    assert [cause.field for cause in caught.value.causes] == [
        "spec.containers[0].name",
        "spec.containers[0].image",
        "spec.containers[1].ports[0].containerPort",
    ]
    assert caught.value.message.startswith('Pod "p" is invalid: [spec.containers[0].name: Invalid value: "A!"')


async def test_what_a_container_may_not_say_of_its_life(ask: Any) -> None:
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "Is", "values": [1]}}
    main = {
        "name": "a",
        "image": "x",
        "restartPolicyRules": [rule, {"action": "Restart"}],
        "livenessProbe": {"successThreshold": 2, "exec": {"command": ["true"]}},
        "readinessProbe": {"terminationGracePeriodSeconds": 1, "httpGet": {"port": 99999}},
        "startupProbe": {},
        "lifecycle": {"preStop": {"sleep": {"seconds": 31}}, "postStart": {"exec": {}, "tcpSocket": {"port": 1}}},
        "securityContext": {"runAsUser": -1, "privileged": True, "allowPrivilegeEscalation": False},
        "volumeMounts": [
            {"name": "v", "mountPath": "/a", "subPath": "../a"},
            {"name": "v", "mountPath": "/b", "subPath": "a", "subPathExpr": "/b"},
        ],
    }
    init = {"name": "i", "image": "x", "readinessProbe": {"tcpSocket": {"port": 1}}}
    body = pod(
        containers=[main],
        initContainers=[init],
        volumes=[{"name": "v", "hostPath": {"path": "/x/../y", "type": "Folder"}}],
        hostPID=True,
        shareProcessNamespace=True,
    )
    with pytest.raises(Invalid) as caught:
        await ask("POST", PODS, body)
    where = "spec.containers[0]"
    assert [cause.field for cause in caught.value.causes] == [
        "spec.volumes[0].hostPath.path",
        "spec.volumes[0].hostPath.type",
        f"{where}.volumeMounts[0].subPath",
        f"{where}.volumeMounts[1].subPathExpr",
        f"{where}.volumeMounts[1].subPathExpr",
        f"{where}.restartPolicy",
        f"{where}.restartPolicyRules[0].action",
        f"{where}.restartPolicyRules[0].exitCodes.operator",
        f"{where}.restartPolicyRules[1].exitCodes",
        f"{where}.startupProbe",
        f"{where}.livenessProbe.successThreshold",
        f"{where}.readinessProbe.httpGet.port",
        f"{where}.readinessProbe.terminationGracePeriodSeconds",
        f"{where}.lifecycle.postStart.tcpSocket",
        f"{where}.lifecycle.postStart.exec.command",
        f"{where}.lifecycle.preStop.sleep",
        f"{where}.securityContext.runAsUser",
        f"{where}.securityContext",
        "spec.initContainers[0].readinessProbe",
        "spec.shareProcessNamespace",
    ]


async def test_unknown_fields_are_dropped_or_refused(ask: Any) -> None:
    body = {**config(), "bogus": 1}
    assert "bogus" not in await ask("POST", MAPS, body)
    with pytest.raises(BadRequest, match='strict decoding error: unknown field "bogus"'):
        await ask("POST", MAPS, {**body, "metadata": {"name": "b"}}, query={"fieldValidation": "Strict"})


async def test_a_dry_run_keeps_nothing(ask: Any) -> None:
    made = await ask("POST", MAPS, config(), query={"dryRun": "All"})
    assert made["metadata"]["uid"]
    with pytest.raises(NotFound):
        await ask("GET", f"{MAPS}/a")
    with pytest.raises(BadRequest):
        await ask("POST", MAPS, config(), query={"dryRun": "Some"})


async def test_an_update_replaces_and_detects_what_it_did_not_see(ask: Any) -> None:
    made = await ask("POST", MAPS, config(x="1"))
    changed = await ask("PUT", f"{MAPS}/a", {**made, "data": {"y": "2"}})
    assert changed["data"] == {"y": "2"}
    with pytest.raises(Conflict, match="the object has been modified"):
        await ask("PUT", f"{MAPS}/a", {**made, "data": {"z": "3"}})
    unconditional = {"metadata": {"name": "a"}, "data": {"z": "3"}}
    assert (await ask("PUT", f"{MAPS}/a", unconditional))["data"] == {"z": "3"}


async def test_identity_cannot_be_changed(ask: Any) -> None:
    made = await ask("POST", MAPS, config())
    meta = {"name": "a", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9}
    changed = await ask("PUT", f"{MAPS}/a", {"metadata": meta, "data": {"x": "1"}})
    for name in ("uid", "creationTimestamp"):
        assert changed["metadata"][name] == made["metadata"][name]
    with pytest.raises(Conflict, match="UID in precondition"):
        await ask("PUT", f"{MAPS}/a", {"metadata": {"name": "a", "uid": "other"}})
    for kind in (MERGE_PATCH, STRATEGIC_MERGE_PATCH):
        with pytest.raises(Conflict, match="UID in precondition"):
            await ask("PATCH", f"{MAPS}/a", {"metadata": {"uid": "other"}, "data": {"x": "2"}}, kind)
    with pytest.raises(BadRequest, match="does not match the name on the URL"):
        await ask("PUT", f"{MAPS}/a", config("b"))


async def test_a_status_of_another_object_of_that_name_is_refused(ask: Any) -> None:
    await ask("POST", PODS, pod())
    late = {"metadata": {"uid": "before"}, "status": {"phase": "Failed"}}
    with pytest.raises(Conflict, match="UID in precondition"):
        await ask("PATCH", f"{PODS}/p/status", late, STRATEGIC_MERGE_PATCH)


async def test_an_update_that_changes_nothing_writes_nothing(ask: Any) -> None:
    made = await ask("POST", MAPS, config(x="1"))
    assert await ask("PUT", f"{MAPS}/a", made) == made
    assert await ask("PATCH", f"{MAPS}/a", {"data": {"x": "1"}}, MERGE_PATCH) == made


async def test_generation_counts_what_is_desired(ask: Any) -> None:
    made = await ask("POST", DEPLOYMENTS, deployment())
    assert made["metadata"]["generation"] == 1
    path = f"{DEPLOYMENTS}/web"
    labelled = await ask("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, MERGE_PATCH)
    assert labelled["metadata"]["generation"] == 1
    scaled = await ask("PATCH", path, {"spec": {"replicas": 2}}, MERGE_PATCH)
    assert scaled["metadata"]["generation"] == 2
    reported = await ask("PATCH", f"{path}/status", {"status": {"replicas": 2}}, MERGE_PATCH)
    assert reported["metadata"]["generation"] == 2


async def test_status_and_the_rest_are_written_apart(ask: Any) -> None:
    made = await ask("POST", DEPLOYMENTS, {**deployment(), "status": {"replicas": 7}})
    assert "replicas" not in made.get("status", {})
    path = f"{DEPLOYMENTS}/web"
    body = {**made, "spec": {**made["spec"], "replicas": 5}, "status": {"replicas": 3}}
    reported = await ask("PUT", f"{path}/status", body)
    assert (reported["spec"]["replicas"], reported["status"]["replicas"]) == (1, 3)
    changed = await ask("PUT", path, {**reported, "spec": body["spec"], "status": {}})
    assert (changed["spec"]["replicas"], changed["status"]["replicas"]) == (5, 3)


@pytest.mark.parametrize(
    ("content_type", "patch"),
    [
        pytest.param(JSON_PATCH, [{"op": "replace", "path": "/spec/replicas", "value": 4}], id="json"),
        pytest.param(MERGE_PATCH, {"spec": {"replicas": 4}}, id="merge"),
        pytest.param(STRATEGIC_MERGE_PATCH, {"spec": {"replicas": 4}}, id="strategic"),
        pytest.param(APPLY_PATCH, {"spec": {"replicas": 4}}, id="apply"),
    ],
)
async def test_every_kind_of_patch(ask: Any, content_type: str, patch: Any) -> None:
    await ask("POST", DEPLOYMENTS, deployment())
    query = {"fieldManager": "me", "force": "true"} if content_type == APPLY_PATCH else {}
    changed = await ask("PATCH", f"{DEPLOYMENTS}/web", patch, content_type, query)
    assert changed["spec"]["replicas"] == 4
    assert changed["spec"]["template"]["spec"]["containers"][0]["image"] == "python:3.11"


async def test_a_patch_of_no_known_kind_and_one_of_nothing(ask: Any) -> None:
    with pytest.raises(UnsupportedMedia):
        await ask("PATCH", f"{MAPS}/a", {}, "text/plain")
    with pytest.raises(NotFound):
        await ask("PATCH", f"{MAPS}/a", {}, MERGE_PATCH)


async def test_patches_never_lose_each_other(ask: Any) -> None:
    await ask("POST", MAPS, config())
    await asyncio.gather(*(ask("PATCH", f"{MAPS}/a", {"data": {f"k{index}": "x"}}, MERGE_PATCH) for index in range(30)))
    assert len((await ask("GET", f"{MAPS}/a"))["data"]) == 30


async def test_delete_and_its_preconditions(ask: Any) -> None:
    made = await ask("POST", MAPS, config())
    with pytest.raises(Conflict):
        await ask("DELETE", f"{MAPS}/a", {"preconditions": {"uid": "other"}})
    with pytest.raises(Conflict):
        await ask("DELETE", f"{MAPS}/a", {"preconditions": {"resourceVersion": "1"}})
    done = await ask("DELETE", f"{MAPS}/a", {"preconditions": {"uid": made["metadata"]["uid"]}})
    assert (done["kind"], done["status"], done["details"]["name"]) == ("Status", "Success", "a")
    with pytest.raises(NotFound):
        await ask("DELETE", f"{MAPS}/a")


async def test_finalizers_hold_an_object(ask: Any) -> None:
    await ask("POST", MAPS, {"metadata": {"name": "a", "finalizers": ["example.com/x"]}})
    held = await ask("DELETE", f"{MAPS}/a")
    assert held["metadata"]["deletionTimestamp"]
    again = await ask(
        "PATCH", f"{MAPS}/a", {"metadata": {"finalizers": ["example.com/x", "example.com/y"]}}, MERGE_PATCH
    )
    assert again["metadata"]["finalizers"] == ["example.com/x"]
    await ask("PATCH", f"{MAPS}/a", {"metadata": {"finalizers": None}}, MERGE_PATCH)
    with pytest.raises(NotFound):
        await ask("GET", f"{MAPS}/a")


@pytest.mark.parametrize(("policy", "finalizers"), [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"])])
async def test_propagation_is_left_to_the_collector_as_finalizers(ask: Any, policy: str, finalizers: list[str]) -> None:
    await ask("POST", MAPS, config())
    held = await ask("DELETE", f"{MAPS}/a", {"propagationPolicy": policy})
    assert held["metadata"]["finalizers"] == finalizers


async def test_a_pod_on_a_node_dies_gracefully_and_others_at_once(ask: Any) -> None:
    await ask("POST", PODS, pod("waiting"))
    await ask("DELETE", f"{PODS}/waiting")
    with pytest.raises(NotFound):
        await ask("GET", f"{PODS}/waiting")
    await ask("POST", PODS, pod("bound"))
    await ask("POST", f"{PODS}/bound/binding", {"target": {"kind": "Node", "name": "n1"}})
    dying = await ask("DELETE", f"{PODS}/bound")
    assert dying["metadata"]["deletionGracePeriodSeconds"] == 30
    shorter = await ask("DELETE", f"{PODS}/bound", {"gracePeriodSeconds": 5})
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    await ask("DELETE", f"{PODS}/bound", {"gracePeriodSeconds": 0})
    with pytest.raises(NotFound):
        await ask("GET", f"{PODS}/bound")


async def test_a_pod_is_bound_once(ask: Any) -> None:
    await ask("POST", PODS, pod())
    await ask("POST", f"{PODS}/p/binding", {"target": {"name": "n1"}})
    bound = await ask("GET", f"{PODS}/p")
    assert bound["spec"]["nodeName"] == "n1"
    assert bound["status"]["conditions"][0]["type"] == "PodScheduled"
    with pytest.raises(Conflict, match='already assigned to node "n1"'):
        await ask("POST", f"{PODS}/p/binding", {"target": {"name": "n2"}})


async def test_a_pods_spec_stays_but_for_its_images(ask: Any) -> None:
    await ask("POST", PODS, pod())
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "python:3.12"}]
    changed = await ask("PATCH", f"{PODS}/p", image, JSON_PATCH)
    assert changed["spec"]["containers"][0]["image"] == "python:3.12"
    with pytest.raises(Invalid, match="pod updates may not change fields"):
        await ask("PATCH", f"{PODS}/p", {"spec": {"hostname": "other"}}, MERGE_PATCH)


async def test_a_collection_is_deleted_by_selector(ask: Any) -> None:
    for index in range(6):
        body = {"metadata": {"name": f"c{index}", "labels": {"even": str(index % 2 == 0)}}}
        await ask("POST", MAPS, body)
    await ask("DELETE", MAPS, query={"labelSelector": "even=True"})
    left = await ask("GET", MAPS)
    assert [item["metadata"]["name"] for item in left["items"]] == ["c1", "c3", "c5"]


async def test_a_namespace_waits_for_its_controller(ask: Any) -> None:
    await ask("POST", "/api/v1/namespaces", {"metadata": {"name": "team"}})
    await ask("DELETE", "/api/v1/namespaces/team")
    ending = await ask("GET", "/api/v1/namespaces/team")
    assert ending["status"]["phase"] == "Terminating"
    with pytest.raises(Forbidden, match="because it is being terminated"):
        await ask("POST", "/api/v1/namespaces/team/configmaps", config())
    await ask("PUT", "/api/v1/namespaces/team/finalize", {**ending, "spec": {"finalizers": []}})
    with pytest.raises(NotFound):
        await ask("GET", "/api/v1/namespaces/team")


async def test_services_get_addresses_of_their_own(ask: Any) -> None:
    path = "/api/v1/namespaces/default/services"

    def service(name: str, **spec: Any) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}

    made = [await ask("POST", path, service(f"s{index}")) for index in range(3)]
    addresses = {item["spec"]["clusterIP"] for item in made}
    assert len(addresses) == 3
    headless = await ask("POST", path, service("h", clusterIP="None"))
    assert headless["spec"]["clusterIP"] == "None"
    with pytest.raises(Invalid, match="provided IP is already allocated"):
        await ask("POST", path, service("taken", clusterIP="10.96.0.1"))
    with pytest.raises(Invalid, match="not in the valid range"):
        await ask("POST", path, service("outside", clusterIP="10.0.0.1"))
    with pytest.raises(Invalid, match="may not change once set"):
        await ask("PATCH", f"{path}/s0", {"spec": {"clusterIP": "10.96.9.9"}}, MERGE_PATCH)
    await ask("DELETE", f"{path}/s0")
    again = await ask("POST", path, service("again", clusterIP=made[0]["spec"]["clusterIP"]))
    assert again["spec"]["clusterIP"] == made[0]["spec"]["clusterIP"]


async def test_addresses_are_known_after_a_restart(api: APIServer, ask: Any, tmp_path: Any) -> None:
    path = "/api/v1/namespaces/default/services"
    made = await ask("POST", path, {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}})
    await api.close()
    async with APIServer(tmp_path / "kube.db", tmp_path / "pki") as again:
        body = {"metadata": {"name": "b"}, "spec": {"ports": [{"port": 80}], "clusterIP": made["spec"]["clusterIP"]}}
        with pytest.raises(Invalid, match="already allocated"):
            await again.transport().request(Request("POST", path, {}, body))


async def test_scale_is_a_view_of_an_object(ask: Any) -> None:
    await ask("POST", DEPLOYMENTS, deployment())
    scale = await ask("GET", f"{DEPLOYMENTS}/web/scale")
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["selector"]) == ("Scale", 1, "app=web")
    await ask("PUT", f"{DEPLOYMENTS}/web/scale", {**scale, "spec": {"replicas": 3}})
    await ask("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 4}}, MERGE_PATCH)
    assert (await ask("GET", f"{DEPLOYMENTS}/web"))["spec"]["replicas"] == 4
    with pytest.raises(Conflict):
        await ask("PUT", f"{DEPLOYMENTS}/web/scale", {**scale, "spec": {"replicas": 9}})
    with pytest.raises(BadRequest):
        await ask("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": -1}}, MERGE_PATCH)


async def test_secrets_take_plain_text_and_keep_base64(ask: Any) -> None:
    path = "/api/v1/namespaces/default/secrets"
    made = await ask("POST", path, {"metadata": {"name": "s"}, "stringData": {"a": "hello"}})
    assert made["data"] == {"a": "aGVsbG8="}
    assert made["type"] == "Opaque"
    assert "stringData" not in made
    with pytest.raises(Invalid, match="data"):
        await ask("POST", path, {"metadata": {"name": "t"}, "data": {"a": "%%%"}})


async def test_events_are_the_same_in_both_groups(ask: Any) -> None:
    body = {
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Testing",
        "message": "hello",
        "type": "Normal",
    }
    await ask("POST", "/api/v1/namespaces/default/events", body)
    found = await ask("GET", "/apis/events.k8s.io/v1/namespaces/default/events/e")
    assert (found["apiVersion"], found["note"], found["regarding"]["name"]) == ("events.k8s.io/v1", "hello", "p")


async def test_methods_that_are_not_there(ask: Any) -> None:
    for method, path in (("PUT", MAPS), ("PATCH", MAPS), ("FROB", MAPS)):
        with pytest.raises(MethodNotAllowed):
            await ask(method, path, {}, MERGE_PATCH)
    with pytest.raises(NotFound):
        await ask("GET", f"{MAPS}/a/status")
