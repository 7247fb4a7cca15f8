"""The pod's state machine: facts in, orders out, without a loop. Invariants are checked after every event."""

import pytest
from tests.local.node.machines import START, Play, a_pod, deleted

from ketch.kube.codec import decode
from ketch.kube.types.core import Pod
from ketch.local.node.pods import events, orders
from ketch.local.node.pods.containers import AdoptedRun, Termination
from ketch.local.node.pods.events import Hook, ProbeKind

EAGER = 0.05


def test_everything_a_container_needs_is_asked_for_at_once():
    play = Play(a_pod())
    asked = play.feed(events.PodChanged(play.pod))
    assert [type(order) for order in asked] == [
        orders.ReportStatus,
        orders.AttachNetwork,
        orders.PrepareVolumes,
        orders.ResolveImage,
    ]
    assert play.state().state.waiting.reason == "ContainerCreating"
    assert play.feed(events.PodChanged(play.pod)) == []


def test_a_container_starts_once_when_the_last_need_is_met_and_the_pod_runs():
    play = Play(a_pod())
    assert orders.StartContainer("main", 0) in play.begin()
    assert play.feed(events.PodChanged(play.pod)) == []
    play.started()
    assert (play.status.phase, play.status.pod_ip, play.state().ready) == ("Running", "10.244.0.5", True)
    kinds = ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")
    assert [play.condition(kind).status for kind in kinds] == ["True"] * 4
    assert ("Started", "Started container main") in play.reasons


@pytest.mark.parametrize(
    ("policy", "code", "phase", "again"),
    [
        pytest.param("Never", 0, "Succeeded", False, id="never, success"),
        pytest.param("Never", 1, "Failed", False, id="never, failure"),
        pytest.param("OnFailure", 0, "Succeeded", False, id="on failure, success"),
        pytest.param("OnFailure", 1, "Running", True, id="on failure, failure"),
        pytest.param("Always", 0, "Running", True, id="always, success"),
        pytest.param("Always", 1, "Running", True, id="always, failure"),
    ],
)
def test_what_follows_an_exit(policy, code, phase, again):
    play = Play(a_pod(policy=policy))
    play.begin()
    play.started()
    play.exited(code)
    assert play.status.phase == phase
    assert bool(play.fresh(orders.StartContainer)) is again
    assert bool(play.fresh(orders.Release)) is not again


def rule(operator, *values):
    return {"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": operator, "values": values}}]}


@pytest.mark.parametrize(
    ("policy", "container", "code", "again"),
    [
        pytest.param("Never", {"restartPolicy": "OnFailure"}, 1, True, id="the container's policy, failure"),
        pytest.param("Never", {"restartPolicy": "OnFailure"}, 0, False, id="the container's policy, success"),
        pytest.param("Always", {"restartPolicy": "Never"}, 1, False, id="the container's policy against the pod's"),
        pytest.param("Never", {"restartPolicy": "Never", **rule("In", 42)}, 42, True, id="a rule for this code"),
        pytest.param("Never", {"restartPolicy": "Never", **rule("In", 42)}, 1, False, id="a rule for another code"),
        pytest.param("Never", {"restartPolicy": "Never", **rule("NotIn", 42)}, 1, True, id="a rule for all but one"),
        pytest.param("Never", {"restartPolicy": "Never", **rule("In", 0)}, 0, True, id="a rule for success"),
    ],
)
def test_what_a_container_of_its_own_says_of_its_end(policy, container, code, again):
    play = Play(a_pod(container, policy=policy))
    play.begin()
    play.started()
    play.exited(code)
    assert bool(play.fresh(orders.StartContainer)) is again
    assert play.status.phase == ("Running" if again else "Failed" if code else "Succeeded")


def test_crashes_are_followed_by_pauses_that_double_and_end_at_five_minutes():
    play = Play(a_pod())
    play.begin()
    pauses = []
    for crash in range(9):
        play.started()
        before = play.now
        if not [order for order in play.exited(1) if isinstance(order, orders.StartContainer)]:
            waiting = play.state().state.waiting
            assert waiting.reason == "CrashLoopBackOff"
            assert play.state().last_state.terminated.exit_code == 1
            while not play.fresh(orders.StartContainer):
                play.now, play.wake = play.wake, None
                play.feed(events.TimerDue())
        pauses.append((play.now - before).total_seconds())
        assert play.state().restart_count == crash
    assert pauses == [0, 10, 20, 40, 80, 160, 300, 300, 300]


def test_a_long_run_makes_the_next_crash_the_first():
    play = Play(a_pod())
    play.begin()
    for _ in range(4):
        play.started()
        play.exited(1)
        play.after(300)
    play.started()
    play.after(601)
    play.exited(1)
    assert play.fresh(orders.StartContainer)


def test_init_containers_run_one_after_the_other_before_the_rest():
    play = Play(a_pod(inits=({"name": "first"}, {"name": "second"})))
    play.begin()
    assert play.fresh(orders.StartContainer) == [orders.StartContainer("first", 0)]
    play.started("first")
    assert (play.status.phase, play.state().state.waiting.reason) == ("Pending", "PodInitializing")
    assert play.condition("Initialized").message == "containers with incomplete status: [first second]"
    assert orders.StartContainer("second", 0) in play.exited(0, "first")
    play.started("second")
    assert orders.StartContainer("main", 0) in play.exited(0, "second")
    play.started()
    assert (play.status.phase, play.condition("Initialized").status) == ("Running", "True")


@pytest.mark.parametrize(
    ("policy", "phase"), [pytest.param("Never", "Failed", id="never"), pytest.param("Always", "Pending", id="always")]
)
def test_a_failed_init_container(policy, phase):
    play = Play(a_pod(inits=({"name": "first"},), policy=policy))
    play.begin()
    play.started("first")
    play.exited(2, "first")
    assert play.status.phase == phase
    assert play.state().state.waiting.reason == "PodInitializing"


def test_a_sidecar_starts_first_lasts_to_the_end_and_does_not_count_for_success():
    play = Play(a_pod(inits=({"name": "proxy", "restartPolicy": "Always"},), policy="Never"))
    play.begin()
    assert play.fresh(orders.StartContainer) == [orders.StartContainer("proxy", 0)]
    assert orders.StartContainer("main", 0) in play.started("proxy")
    play.started()
    assert orders.Signal("proxy", 0) in play.exited(0)
    assert play.status.phase == "Running"
    play.exited(143, "proxy")
    assert play.status.phase == "Succeeded"


def test_sidecars_end_one_after_the_other_the_last_one_first():
    inits = ({"name": "first", "restartPolicy": "Always"}, {"name": "second", "restartPolicy": "Always"})
    play = Play(a_pod(inits=inits, policy="Never"))
    play.begin()
    play.started("first")
    play.started("second")
    play.started()
    play.exited(0)
    assert play.of(orders.Signal) == [orders.Signal("second", 0)]
    play.exited(143, "second")
    assert play.of(orders.Signal) == [orders.Signal("second", 0), orders.Signal("first", 0)]
    play.exited(143, "first")
    assert play.status.phase == "Succeeded"


def test_a_sidecar_that_dies_is_started_again_although_the_pod_never_restarts():
    play = Play(a_pod(inits=({"name": "proxy", "restartPolicy": "Always"},), policy="Never"))
    play.begin()
    play.started("proxy")
    play.started()
    assert orders.StartContainer("proxy", 1) in play.exited(1, "proxy")


def test_an_image_that_cannot_be_had_is_tried_again():
    play = Play(a_pod())
    play.feed(events.PodChanged(play.pod))
    play.feed(events.ImageFailed("python:3", "nothing here is called python:3"))
    assert play.state().state.waiting.reason == "ErrImagePull"
    play.after(3)
    waiting = play.state().state.waiting
    assert waiting.reason == "ImagePullBackOff"
    assert waiting.message == 'Back-off pulling image "python:3": ErrImagePull: nothing here is called python:3'
    assert orders.ResolveImage("python:3") in play.after(8)


def test_a_missing_config_map_is_told_and_tried_again_when_it_appears():
    play = Play(a_pod())
    play.begin()
    play.feed(events.StartFailed("main", 0, "CreateContainerConfigError", 'configmap "c" not found'))
    waiting = play.state().state.waiting
    assert (waiting.reason, waiting.message) == ("CreateContainerConfigError", 'configmap "c" not found')
    assert play.feed(events.ReferencesChanged())[0] == orders.StartContainer("main", 0)


def test_a_volume_that_fails_is_announced_once_and_tried_again():
    play = Play(a_pod())
    play.feed(events.PodChanged(play.pod))
    for _ in range(3):
        play.feed(events.VolumesFailed("no volume"))
        play.after(120)
    assert play.reasons.count(("FailedMount", "no volume")) == 1
    assert len(play.of(orders.PrepareVolumes)) == 4
    waiting = play.state().state.waiting
    assert (waiting.reason, waiting.message) == ("ContainerCreating", "no volume")
    play.feed(events.VolumesReady())
    assert play.state().state.waiting.message == ""


def test_deletion_goes_by_signal_then_kill_then_status_then_removal():
    play = Play(a_pod())
    play.begin()
    play.started()
    assert orders.Signal("main", 0) in play.feed(events.PodChanged(deleted(play.pod, play.now, 30)))
    assert play.after(29.9) == []
    assert orders.Kill("main", 0) in play.after(0.2)
    assert [type(order) for order in play.exited(137)] == [orders.ReportStatus, orders.Release]
    assert play.status.phase == "Failed"
    assert orders.RemovePod() in play.feed(events.Released())
    assert play.feed(events.PodGone()) == [orders.Forget()]


def test_pre_stop_comes_before_the_signal_and_its_time_counts():
    hook = {"lifecycle": {"preStop": {"exec": {"command": ["drain"]}}}}
    play = Play(a_pod(hook))
    play.begin()
    play.started()
    play.feed(events.PodChanged(deleted(play.pod, play.now, 30)))
    assert play.fresh(orders.RunHook) == [orders.RunHook("main", 0, Hook.PRE_STOP)]
    assert not play.of(orders.Signal)
    play.after(10)
    assert orders.Signal("main", 0) in play.feed(events.HookDone("main", 0, Hook.PRE_STOP))
    assert orders.Kill("main", 0) in play.after(20)


def test_a_hook_that_never_ends_leaves_two_seconds_after_the_signal():
    play = Play(a_pod({"lifecycle": {"preStop": {"exec": {"command": ["drain"]}}}}))
    play.begin()
    play.started()
    play.feed(events.PodChanged(deleted(play.pod, play.now, 30)))
    issued = play.after(31)
    assert orders.Signal("main", 0) in issued
    assert orders.Kill("main", 0) not in issued
    assert orders.Kill("main", 0) in play.after(1)


def test_a_shorter_grace_period_later_wins():
    play = Play(a_pod())
    play.begin()
    play.started()
    play.feed(events.PodChanged(deleted(play.pod, play.now, 30)))
    play.after(1)
    play.feed(events.PodChanged(deleted(play.pod, play.now, 1)))
    assert orders.Kill("main", 0) in play.after(1)


def test_a_pod_deleted_by_force_is_killed_soon_and_forgotten():
    play = Play(a_pod())
    play.begin()
    play.started()
    play.feed(events.PodGone())
    assert orders.Kill("main", 0) in play.after(2)
    play.exited(137)
    assert play.feed(events.Released())[-1] == orders.Forget()
    assert not play.of(orders.RemovePod)


def test_a_start_in_flight_when_the_pod_is_deleted_is_ended_when_it_arrives():
    play = Play(a_pod())
    play.begin()
    assert not [
        o for o in play.feed(events.PodChanged(deleted(play.pod, play.now, 5))) if isinstance(o, orders.Release)
    ]
    assert orders.Signal("main", 0) in play.started()


def test_a_pod_deleted_before_it_began_goes_at_once():
    play = Play(a_pod())
    play.feed(events.PodChanged(play.pod))
    issued = play.feed(events.PodChanged(deleted(play.pod, play.now, 30)))
    assert orders.Release() in issued
    assert orders.RemovePod() in play.feed(events.Released())


def test_the_active_deadline_makes_the_pod_fail_once_its_containers_are_gone():
    play = Play(a_pod(activeDeadlineSeconds=60))
    play.begin()
    play.started()
    assert orders.Signal("main", 0) in play.after(60)
    assert play.status.phase == "Running"
    play.exited(0)
    assert (play.status.phase, play.status.reason) == ("Failed", "DeadlineExceeded")


def test_an_evicted_pod_ends_at_once_and_has_failed():
    play = Play(a_pod())
    play.begin()
    play.started()
    issued = play.feed(events.Evicted("too much"))
    assert orders.Announce("Warning", "Evicted", "too much") in issued
    assert any(isinstance(each, orders.Kill | orders.Signal) for each in issued)
    assert play.feed(events.Evicted("too much")) == []  # once
    play.exited(137)
    assert (play.status.phase, play.status.reason, play.status.message) == ("Failed", "Evicted", "too much")
    disrupted = next(each for each in play.status.conditions if each.type == "DisruptionTarget")
    assert (disrupted.status, disrupted.reason) == ("True", "TerminationByKubelet")


READINESS = {"readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 10, "failureThreshold": 3}}


def test_readiness_is_sought_eagerly_and_lost_only_by_the_threshold():
    play = Play(a_pod(READINESS))
    play.begin()
    assert orders.RunProbe("main", 0, ProbeKind.READINESS) in play.started()
    assert not play.state().ready
    play.probed(ProbeKind.READINESS, success=False)
    assert orders.RunProbe("main", 0, ProbeKind.READINESS) in play.after(EAGER)
    play.probed(ProbeKind.READINESS, success=True)
    assert play.state().ready
    for _ in range(3):
        assert play.state().ready
        play.after(10)
        play.probed(ProbeKind.READINESS, success=False)
    assert not play.state().ready
    assert play.condition("Ready").message == "containers with unready status: [main]"
    assert [reason for reason, _ in play.reasons].count("Unhealthy") == 4


def test_liveness_kills_at_the_threshold_and_the_container_comes_back():
    play = Play(a_pod({"livenessProbe": {"exec": {"command": ["ok"]}, "periodSeconds": 5, "failureThreshold": 2}}))
    play.begin()
    play.started()
    play.probed(ProbeKind.LIVENESS, success=False)
    assert not play.of(orders.Signal)
    play.after(5)
    play.probed(ProbeKind.LIVENESS, success=False)
    assert play.fresh(orders.Signal) == [orders.Signal("main", 0)]
    assert ("Killing", "Container main failed liveness probe, will be restarted") in play.reasons
    assert orders.StartContainer("main", 1) in play.exited(143)


def test_a_probe_s_own_grace_period_goes_before_the_pod_s():
    probe = {"exec": {"command": ["ok"]}, "failureThreshold": 1, "terminationGracePeriodSeconds": 2}
    play = Play(a_pod({"livenessProbe": probe}, terminationGracePeriodSeconds=600))
    play.begin()
    play.started()
    play.probed(ProbeKind.LIVENESS, success=False)
    assert play.fresh(orders.Signal) == [orders.Signal("main", 0)]
    assert not [order for order in play.after(1.5) if isinstance(order, orders.Kill)]
    assert orders.Kill("main", 0) in play.after(1)


def test_the_startup_probe_holds_back_the_others():
    probes = {"startupProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 10, "failureThreshold": 3}, **READINESS}
    play = Play(a_pod(probes))
    play.begin()
    assert [order.kind for order in play.started() if isinstance(order, orders.RunProbe)] == [ProbeKind.STARTUP]
    assert play.state().started is False
    play.probed(ProbeKind.STARTUP, success=True)
    assert [order.kind for order in play.fresh(orders.RunProbe)] == [ProbeKind.READINESS]
    assert play.state().started is True


def test_a_startup_probe_that_fails_often_enough_restarts_the_container():
    play = Play(a_pod({"startupProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 10, "failureThreshold": 2}}))
    play.begin()
    play.started()
    for _ in range(200):
        if play.of(orders.Signal):
            break
        play.probed(ProbeKind.STARTUP, success=False)
        play.after(0.5)
    assert 10 <= (play.now - START).total_seconds() <= 12


def test_a_failed_post_start_hook_ends_the_run():
    play = Play(a_pod({"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}}))
    play.begin()
    assert orders.RunHook("main", 0, Hook.POST_START) in play.started()
    assert not play.state().ready
    assert orders.Signal("main", 0) in play.feed(events.HookDone("main", 0, Hook.POST_START, "it broke"))


def test_a_changed_image_restarts_the_container_by_the_new_one():
    play = Play(a_pod())
    play.begin()
    play.started()
    raw = play.pod.to_json()
    raw["spec"]["containers"][0]["image"] = "python:4"
    issued = play.feed(events.PodChanged(decode(Pod, raw)))
    assert orders.ResolveImage("python:4") in issued
    assert orders.Signal("main", 0) in issued
    play.feed(events.ImageReady("python:4", "sha256:2"))
    assert orders.StartContainer("main", 1) in play.exited(143)


def test_answers_about_an_earlier_run_change_nothing():
    play = Play(a_pod(READINESS))
    play.begin()
    play.started()
    play.exited(1)
    play.started()
    before = play.status
    play.feed(events.ContainerExited("main", 0, 9, "Error", play.now))
    play.feed(events.ProbeDone("main", 0, ProbeKind.READINESS, success=True))
    assert play.status == before


def run(attempt=0, code=None, at=START):
    end = None if code is None else Termination(code, "Error" if code else "Completed", at, at)
    return AdoptedRun(attempt, "python:3", "sha256:1", at, end)


def test_a_running_container_is_adopted_and_not_started_again():
    play = Play(a_pod(), {"main": [run(0, 1), run(1)]})
    play.begin()
    assert not play.of(orders.StartContainer)
    assert (play.status.phase, play.state().restart_count) == ("Running", 1)
    assert play.state().last_state.terminated.exit_code == 1


def test_an_end_that_nobody_saw_is_adopted():
    play = Play(a_pod(policy="Never"), {"main": [run(0, 3)]})
    play.feed(events.PodChanged(play.pod))
    assert play.status.phase == "Failed"
    ended = play.state().state.terminated
    assert (ended.exit_code, ended.container_id) == (3, play.state().container_id)
    assert ended.container_id.startswith("ketch://")
    assert not play.of(orders.StartContainer)


def test_the_back_off_goes_on_after_a_restart_of_the_agent():
    play = Play(a_pod(), {"main": [run(0, 1), run(1, 1), run(2, 1)]})
    play.begin()
    assert play.state().state.waiting.reason == "CrashLoopBackOff"
    assert not play.of(orders.StartContainer)
    assert orders.StartContainer("main", 3) in play.after(20)


def test_a_pod_that_has_ended_is_left_as_it_is_until_it_is_deleted():
    raw = a_pod().to_json()
    raw["status"]["phase"] = "Succeeded"
    pod = decode(Pod, raw)
    play = Play(pod)
    assert play.feed(events.PodChanged(pod)) == [orders.Release()]
    assert play.feed(events.Released()) == []
    assert play.feed(events.PodGone()) == [orders.Forget()]


def test_a_command_that_cannot_be_executed_counts_as_a_run():
    play = Play(a_pod(policy="Never"))
    play.begin()
    play.exited(127, reason="StartError")
    assert (play.status.phase, play.state().state.terminated.reason) == ("Failed", "StartError")
    assert "Started" not in [reason for reason, _ in play.reasons]


def test_runs_that_are_no_longer_on_disk_count_for_the_back_off():
    play = Play(a_pod(), {"main": [run(5, 1), run(6, 1)]})
    play.begin()
    assert play.state().restart_count == 6
    assert play.after(299) == []
    assert orders.StartContainer("main", 7) in play.after(1)
