"""Pods run: to completion, with their environment, volumes, logs, probes, restarts, and end as they should."""

import json

import pytest
from tests.waiting import eventually

from ketch.kube.types.core import ConfigMap, Event


async def test_a_pod_runs_to_its_end_and_keeps_its_log(node):
    await node.create("one", {"sh": "echo hello; echo oops >&2; exit 3"})
    pod = await node.phase("one", "Failed")
    (status,) = pod.status.container_statuses
    ended = status.state.terminated
    assert (ended.exit_code, ended.reason, status.restart_count, status.ready) == (3, "Error", 0, False)
    assert status.container_id.startswith("ketch://")
    assert status.image_id.startswith("sha256:")
    assert sorted((await node.logs("one")).split()) == ["hello", "oops"]
    assert await node.messages("Started") == ["Started container main"]
    await node.delete("one")
    await node.gone("one")


async def test_a_running_pod_has_an_address_and_all_its_conditions(node):
    await node.create("up", {"sh": "sleep 100"})
    pod = await node.phase("up", "Running")
    info = await node.network.info()
    assert pod.status.pod_ip.startswith("10.244.") or info.mode == "host"
    kinds = {"PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"}
    assert {each.type for each in pod.status.conditions if each.status == "True"} >= kinds
    assert pod.status.start_time is not None
    assert pod.status.container_statuses[0].started is True


async def test_the_environment_as_seen_inside(node):
    await node.config_map("settings", COLOR="blue", SIZE="10")
    await node.secret("keys", token="s3cret")
    env = [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "BOTH", "value": "$(NAME)-$(TOKEN)-$$(NAME)"},
    ]
    script = 'echo "$C_COLOR $BOTH $1"; test -n "$IP"; test -n "$KUBERNETES_SERVICE_HOST"; hostname'
    await node.create(
        "env",
        {
            "sh": f"set -e; {script}",
            "args": ["ignored", "$(C_SIZE)"],
            "env": env,
            "envFrom": [{"prefix": "C_", "configMapRef": {"name": "settings"}}],
        },
    )
    assert await node.output("env") == "blue env-s3cret-$(NAME) 10\nenv\n"


async def test_volumes_as_seen_inside_and_live_updates(node):
    await node.config_map("files", a="first")
    await node.secret("hidden", key="k")
    volumes = [
        {"name": "files", "configMap": {"name": "files"}},
        {
            "name": "hidden",
            "secret": {"secretName": "hidden", "items": [{"key": "key", "path": "in/key", "mode": 256}]},
        },
        {"name": "facts", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    mounts = [{"name": each["name"], "mountPath": f"/v/{each['name']}"} for each in volumes]
    mounts.append({"name": "files", "mountPath": "/one", "subPath": "a"})
    script = (
        "set -e; cat /v/files/a /one; echo; cat /v/hidden/in/key; echo; cat /v/facts/labels; echo;"
        "echo x > /v/scratch/f; echo y > /v/memory/f; ! (echo z > /v/files/a) 2>/dev/null; stat -f -c %T /v/memory;"
        "until grep -q second /v/files/a; do sleep 0.05; done; cat /v/files/a"
    )
    await node.create(
        "vol", {"sh": script, "volumeMounts": mounts}, volumes=volumes, metadata={"labels": {"app": "vol"}}
    )
    await node.phase("vol", "Running")

    async def first_was_read():
        return "tmpfs" in await node.logs("vol")

    await eventually(first_was_read)
    await node.config_map("files", a="second")
    assert await node.output("vol") == 'firstfirst\nk\napp="vol"\ntmpfs\nsecond\n'


async def test_containers_of_a_pod_share_volumes_and_address(node):
    volumes = [{"name": "shared", "emptyDir": {}}]
    mounts = [{"name": "shared", "mountPath": "/s"}]
    await node.create(
        "two",
        {"name": "main", "sh": "until test -e /s/f; do sleep 0.02; done; cat /s/f", "volumeMounts": mounts},
        {"name": "other", "sh": "echo hi > /s/f.new; mv /s/f.new /s/f", "volumeMounts": mounts},
        volumes=volumes,
    )
    assert await node.output("two") == "hi\n"


async def test_init_containers_come_first_and_sidecars_stay(node):
    volumes = [{"name": "v", "emptyDir": {}}]
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    inits = [
        node.container(name="side", sh="trap 'exit 0' TERM; while :; do sleep 0.05; done", restartPolicy="Always"),
        node.container(name="first", sh="echo prepared > /v/f", **mounts),
    ]
    await node.create("steps", {"sh": "cat /v/f", **mounts}, initContainers=inits, volumes=volumes)
    pod = await node.phase("steps", "Succeeded")
    assert await node.logs("steps") == "prepared\n"
    side, first = pod.status.init_container_statuses
    assert side.state.terminated.exit_code == 0
    assert first.state.terminated.reason == "Completed"


async def test_a_crash_is_followed_by_a_restart_then_by_back_off(node):
    await node.create("crash", {"sh": "echo run; exit 7"}, restartPolicy="Always")
    pod = await node.waits_for("crash", "CrashLoopBackOff")
    (status,) = pod.status.container_statuses
    assert (status.restart_count, status.last_state.terminated.exit_code) == (1, 7)
    assert pod.status.phase == "Running"
    assert await node.messages("BackOff")
    assert await node.logs("crash", previous="true") == "run\n"
    assert await node.logs("crash") == "run\n"


@pytest.mark.parametrize(
    ("container", "reason", "text"),
    [
        pytest.param({"image": "nobody/knows:1"}, "ErrImagePull", "nobody/knows:1", id="image"),
        pytest.param(
            {"envFrom": [{"configMapRef": {"name": "nope"}}]},
            "CreateContainerConfigError",
            'configmap "nope" not found',
            id="config map",
        ),
    ],
)
async def test_what_keeps_a_container_from_starting_is_said(node, container, reason, text):
    await node.create("stuck", container)
    pod = await node.waits_for("stuck", reason)
    assert text in pod.status.container_statuses[0].state.waiting.message
    await node.delete("stuck")
    await node.gone("stuck")


async def test_a_missing_config_map_that_appears_lets_the_pod_run(node):
    await node.create("late", {"sh": "echo $A", "envFrom": [{"configMapRef": {"name": "late"}}]})
    await node.waits_for("late", "CreateContainerConfigError")
    await node.config_map("late", A="came")
    assert await node.output("late") == "came\n"


async def test_a_volume_that_is_missing_is_named(node):
    await node.create(
        "mount",
        {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        volumes=[{"name": "v", "configMap": {"name": "nope"}}],
    )
    assert await node.messages("FailedMount") == [
        'MountVolume.SetUp failed for volume "v" : configmap "nope" not found'
    ]


async def test_a_command_that_does_not_exist_fails_the_pod(node):
    await node.create("cmd", {"command": ["no-such-program"]})
    pod = await node.phase("cmd", "Failed")
    ended = pod.status.container_statuses[0].state.terminated
    assert ended.reason == "StartError"
    assert "no-such-program" in ended.message
    assert not (await node.client.list(Event, "default", field_selector="reason=Started")).items


async def test_too_much_memory_is_oom_killed(node):
    hog = "import time\nx = [bytearray(1 << 20) for _ in range(300)]\ntime.sleep(60)"
    limits = {"resources": {"limits": {"memory": "64Mi"}}}
    await node.create("hog", {"command": ["python3", "-c", hog], **limits})
    ended = (await node.phase("hog", "Failed")).status.container_statuses[0].state.terminated
    assert (ended.reason, ended.exit_code) == ("OOMKilled", 137)


async def test_last_words_come_from_the_file_or_from_the_log(node):
    await node.create("words", {"sh": "printf done > /dev/termination-log"})
    await node.create("log", {"sh": "echo why; exit 1", "terminationMessagePolicy": "FallbackToLogsOnError"})
    words, log = await node.phase("words", "Succeeded"), await node.phase("log", "Failed")
    assert words.status.container_statuses[0].state.terminated.message == "done"
    assert log.status.container_statuses[0].state.terminated.message == "why\n"


async def test_the_deadline_fails_the_pod(node):
    await node.create("slow", {"sh": "sleep 100"}, activeDeadlineSeconds=1, terminationGracePeriodSeconds=1)
    assert (await node.phase("slow", "Failed")).status.reason == "DeadlineExceeded"


async def test_readiness_follows_an_exec_probe(node):
    probe = {
        "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/ok"]}, "periodSeconds": 1, "failureThreshold": 1}
    }
    await node.create("ready", {"sh": "sleep 0.3; touch /tmp/ok; sleep 1; rm /tmp/ok; sleep 100", **probe})

    def ready(pod):
        return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions)

    await node.phase("ready", "Running")
    await node.until("ready", ready)
    await node.until("ready", lambda pod: not ready(pod))
    assert any("Readiness probe failed" in message for message in await node.messages("Unhealthy"))


SERVER = (
    "import http.server as h\n"
    "class H(h.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(200 if self.path == '/ok' and self.headers['X-A'] == 'b' else 500)\n"
    "        self.end_headers()\n"
    "    def log_message(self, *a): pass\n"
    "h.HTTPServer(('', 8080), H).serve_forever()"
)


async def test_http_probes_reach_the_pod(node):
    if (await node.network.info()).mode != "isolated":
        pytest.skip("no isolated network on this machine")
    ports = {"ports": [{"name": "web", "containerPort": 8080}], "command": ["python3", "-c", SERVER]}
    headers = [{"name": "X-A", "value": "b"}]
    good = {"readinessProbe": {"httpGet": {"path": "/ok", "port": "web", "httpHeaders": headers}, "timeoutSeconds": 5}}
    live = {"livenessProbe": {"httpGet": {"path": "/no", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}}
    start = {"startupProbe": {"tcpSocket": {"port": 8080}}}
    await node.create("web", {**ports, **good})
    await node.create("sick", {**ports, **live, **start}, restartPolicy="Always", terminationGracePeriodSeconds=1)
    await node.until("web", lambda pod: pod.status.container_statuses and pod.status.container_statuses[0].ready)
    await node.until("sick", lambda pod: pod.status.container_statuses[0].restart_count)
    assert "Liveness probe failed: HTTP probe failed with statuscode: 500" in await node.messages("Unhealthy")


async def test_deletion_lets_the_container_end_by_itself(node):
    script = "trap 'sleep 0.1; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    await node.create("polite", {"sh": script})
    await node.phase("polite", "Running")
    await node.delete("polite")
    await node.gone("polite")
    assert "Stopping container main" in await node.messages("Killing")
    await node.cleared()


async def test_a_deaf_container_is_killed_and_hooks_run_first(node):
    hook = {"preStop": {"exec": {"command": ["touch", "/v/stopped"]}}}
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    store = {"name": "v", "csi": {"driver": "objects.ketch.dev", "volumeAttributes": {"path": "bucket/run"}}}
    await node.create(
        "deaf", {"sh": "trap '' TERM; while :; do sleep 0.1; done", "lifecycle": hook, **mounts}, volumes=[store]
    )
    await node.phase("deaf", "Running")
    await node.delete("deaf", 1)
    await node.gone("deaf")
    assert (node.data / "objects" / "bucket" / "run" / "stopped").exists()


async def test_a_pod_deleted_by_force_leaves_nothing(node):
    await node.create("forced", {"sh": "sleep 100"})
    await node.phase("forced", "Running")
    await node.delete("forced", 0)
    await node.gone("forced")
    await node.cleared()


async def test_a_followed_log_ends_with_its_container_and_tails_are_cut(node):
    await node.create("talk", {"sh": "for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done"})
    await node.phase("talk", "Running", "Succeeded")
    assert await node.logs("talk", follow="true") == "".join(f"line {i}\n" for i in range(1, 6))
    assert await node.logs("talk", tailLines=2) == "line 4\nline 5\n"
    assert await node.logs("talk", limitBytes=4) == "line"
    stamped = await node.logs("talk", tailLines=1, timestamps="true")
    assert stamped.endswith("Z line 5\n")


async def test_the_objects_of_another_pod_and_the_platform_are_not_seen(node):
    listing = f"ls {node.data} 2>&1; ls /root; id -u >/dev/null; echo end"
    await node.create("look", {"sh": listing})
    text = await node.output("look")
    assert "kube.db" not in text
    assert "run" not in text.split()


async def test_a_pod_reaches_the_api_with_its_own_token(reachable):
    if (await reachable.network.info()).mode != "isolated":
        pytest.skip("no isolated network on this machine")
    code = (
        "import json, os, ssl, urllib.request as u\n"
        "d = '/var/run/secrets/kubernetes.io/serviceaccount/'\n"
        "assert open(d + 'namespace').read() == 'default'\n"
        "t = open(d + 'token').read()\n"
        "c = ssl._create_unverified_context()\n"
        "h = os.environ['KUBERNETES_SERVICE_HOST']\n"
        "b = json.dumps({'apiVersion': 'authentication.k8s.io/v1', 'kind': 'SelfSubjectReview'}).encode()\n"
        "f = {'Authorization': 'Bearer ' + t, 'Content-Type': 'application/json'}\n"
        "q = u.Request(f'https://{h}/apis/authentication.k8s.io/v1/selfsubjectreviews', b, f)\n"
        "o = u.build_opener(u.ProxyHandler({}), u.HTTPSHandler(context=c))\n"
        "print(json.dumps(json.load(o.open(q))['status']['userInfo']))\n"
    )
    await reachable.create("who", {"command": ["python3", "-c", code]}, automountServiceAccountToken=True)
    who = json.loads(await reachable.output("who"))
    assert who["username"] == "system:serviceaccount:default:default"
    assert who["extra"]["authentication.kubernetes.io/pod-name"] == ["who"]


async def test_a_changed_config_map_does_not_restart_anything(node):
    await node.config_map("calm", a="1")
    await node.create("calm", {"sh": "sleep 100", "envFrom": [{"configMapRef": {"name": "calm"}}]})
    before = await node.phase("calm", "Running")
    await node.edit(ConfigMap, "calm", {"data": {"a": "2"}})
    await node.config_map("other", a="1")
    after = await node.phase("calm", "Running")
    assert after.status.container_statuses[0].container_id == before.status.container_statuses[0].container_id


async def test_a_pod_that_has_ended_keeps_the_agent_waiting_for_nothing(node):
    """Tokens are renewed and deadlines watched for as long as the pod runs, not for an hour."""
    pod = await node.create("short", {}, automountServiceAccountToken=True, activeDeadlineSeconds=3600)
    await node.phase("short", "Succeeded")
    worker = node.agent._workers[pod.metadata.uid]
    await eventually(lambda: not worker._tasks)
    await node.delete("short")
    await node.cleared()
    assert worker._alarm is None or worker._alarm.cancelled()
