"""Retries: of steps by their policy, of runs by the user."""

from kfp import dsl
from tests.e2e.pipelines.conformance.cases import FAILED, SUCCEEDED, Expect, Family
from tests.e2e.pipelines.conformance.driving import Driver
from tests.e2e.pipelines.conformance.seen import Seen
from tests.e2e.pipelines.conformance.steps import light, say, total, write

family = Family("retries")


@light
def at_attempt(wanted: int, base: int = 0) -> int:
    import os

    attempt = int(os.environ["KFP_RETRY_INDEX"])
    assert attempt >= wanted, f"attempt {attempt} is too early"
    return base + attempt


def _attempts(path: str, number: int) -> Expect:
    def check(seen: Seen) -> None:
        pods = [each for each in seen.tasks[path].message.get("pods", []) if each.get("type") != "DRIVER"]
        assert len({each["name"] for each in pods}) == number, seen.tasks[path].message

    return Expect(states={path: SUCCEEDED}, outputs={f"{path}.Output": number - 1}, check=check)


@family.case(_attempts("at-attempt", 3))
@dsl.pipeline(name="the-third-attempt-succeeds")
def third_attempt():
    at_attempt(wanted=2).set_retry(num_retries=3, backoff_duration="0s")


@family.case(
    Expect(FAILED, states={"at-attempt": FAILED}, errors={"at-attempt": "attempt 1 is too early"}, absent=("say",))
)
@dsl.pipeline(name="the-last-attempt-fails")
def last_attempt():
    failed = at_attempt(wanted=9).set_retry(num_retries=1, backoff_duration="0s")
    say(text="x").after(failed)


@family.case(Expect(outputs={"total.Output": 32}))
@dsl.pipeline(name="retries-within-a-loop")
def within_a_loop():
    with dsl.ParallelFor([10, 20]) as item:
        made = at_attempt(wanted=1, base=item).set_retry(2, "0s", backoff_factor=2.0, backoff_max_duration="100s")
    total(values=dsl.Collected(made.output))
    total(values=[1])


@light
def no_policy() -> bool:
    import os

    return "KFP_RETRY_INDEX" in os.environ


@family.case(Expect(outputs={"no-policy.Output": False}))
@dsl.pipeline(name="no-policy-no-number-of-the-attempt")
def without_policy():
    no_policy()


@dsl.container_component
def first_fails(said: dsl.OutputPath(str)):
    script = 'mkdir -p "$(dirname "$0")"; echo "attempt $KFP_RETRY_INDEX"; printf "$KFP_RETRY_INDEX" > "$0"'
    return dsl.ContainerSpec(image="alpine:3", command=["sh", "-c", f'{script}; [ "$KFP_RETRY_INDEX" -gt 0 ]', said])


@family.case(Expect(outputs={"first-fails.said": "1"}))
@dsl.pipeline(name="outputs-of-the-last-attempt-count")
def outputs_of_the_last():
    first_fails().set_retry(num_retries=1, backoff_duration="0s")


@light
def when_told(said: str) -> str:
    import os

    value = os.environ["TOLD"]
    assert value == "yes", f"told {value}"
    return said


@dsl.pipeline(name="a-run-is-retried")
def retried():
    from kfp import kubernetes

    first = say(text="first")
    told = when_told(said=first.output)
    kubernetes.use_config_map_as_env(told, "conformance-told", {"told": "TOLD"})
    with dsl.ParallelFor(["a", "b"]) as item:
        write(text=item).after(told)


@family.scenario
def a_failed_run_goes_on_where_it_was(driver: Driver) -> None:
    def tell(word: str) -> None:
        metadata = {"name": "conformance-told", "namespace": "kubeflow"}
        driver.platform.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"told": word}})

    tell("no")
    run_id = driver.start(retried)
    before = driver.ended(run_id)
    assert before.run.state == FAILED, before.story()
    assert "told no" in before.error("when-told"), before.story()
    tell("yes")
    driver.client._run_api.run_service_retry_run(run_id)
    after = driver.ended(run_id)
    assert after.run.state == SUCCEEDED, after.story()
    assert after.output("when-told.Output") == "first"
    assert after.state("for-loop-2/1/write") == SUCCEEDED, after.story()
    kept = [seen.tasks["say"].message["pods"] for seen in (before, after)]
    assert kept[0] == kept[1]  # what had succeeded did not run again
    states = [each.state for each in after.run.state_history]
    assert states[-1] == SUCCEEDED
    assert FAILED in states


@light
def linger() -> str:
    import time

    time.sleep(600)
    return "late"


@dsl.pipeline(name="a-run-is-terminated")
def terminated():
    say(text=linger().output)


@family.scenario
def a_terminated_run_ends(driver: Driver) -> None:
    from tests.e2e.platforms import eventually

    run_id = driver.start(terminated)
    eventually(lambda: driver.seen(run_id).state("linger") == "RUNNING", what="the step runs")
    driver.client.terminate_run(run_id)
    seen = driver.ended(run_id)
    assert seen.run.state in ("FAILED", "CANCELED"), seen.story()
    assert "say" not in seen.tasks


@light
def second_time(path: str) -> str:
    import os

    if not os.path.exists(path):
        open(path, "w").close()
        raise RuntimeError("the first time")
    return "second"


@dsl.pipeline(name="inner-retried")
def inner_retried(path: str) -> str:
    from kfp import kubernetes

    made = second_time(path=path)
    kubernetes.mount_pvc(made, "conformance-claim", "/data")
    return say(text=made.output).output


@family.case(Expect(outputs={"inner-retried.Output": "second"}))
@dsl.pipeline(name="a-pipeline-within-a-pipeline-is-retried")
def a_whole_pipeline():
    inner_retried(path=f"/data/{dsl.PIPELINE_JOB_ID_PLACEHOLDER}").set_retry(num_retries=1, backoff_duration="0s")
