"""Caching: when a step is taken from an earlier run, and when not."""

from typing import Any

from kfp import dsl
from tests.e2e.pipelines.conformance.cases import CACHED, FAILED, SUCCEEDED, Family
from tests.e2e.pipelines.conformance.driving import Driver
from tests.e2e.pipelines.conformance.seen import Seen
from tests.e2e.pipelines.conformance.steps import add, light, read, write

family = Family("caching")


@light
def moment(number: int = 1) -> str:
    import uuid

    return f"{number} {uuid.uuid4()}"


@light
def forward(text: str) -> str:
    return text


def twice(driver: Driver, pipeline: Any, first: dict[str, Any], second: dict[str, Any]) -> tuple[Seen, Seen]:
    before, after = driver.run(pipeline, **first), driver.run(pipeline, **second)
    assert (before.run.state, after.run.state) == (SUCCEEDED, SUCCEEDED), after.story()
    return before, after


@dsl.pipeline(name="cached-chain")
def chain(number: int = 1):
    forward(text=moment(number=number).output)


@family.scenario
def the_same_again_is_taken_from_before(driver: Driver) -> None:
    before, after = twice(driver, chain, {"number": 1}, {"number": 1})
    assert (before.state("moment"), before.state("forward")) == (SUCCEEDED, SUCCEEDED)
    assert (after.state("moment"), after.state("forward")) == (CACHED, CACHED), after.story()
    assert after.output("moment.Output") == before.output("moment.Output")
    assert after.output("forward.Output") == before.output("forward.Output")


@family.scenario
def other_inputs_are_another_step(driver: Driver) -> None:
    before, after = twice(driver, chain, {"number": 2}, {"number": 3})
    assert after.state("moment") == SUCCEEDED
    assert after.output("moment.Output") != before.output("moment.Output")


@family.scenario
def a_run_without_caching_runs_everything(driver: Driver) -> None:
    before, after = twice(driver, chain, {"number": 4}, {"number": 4, "caching": False})
    assert (after.state("moment"), after.state("forward")) == (SUCCEEDED, SUCCEEDED), after.story()
    assert after.output("moment.Output") != before.output("moment.Output")


@dsl.pipeline(name="one-step-is-not-cached")
def one_uncached():
    first = moment(number=1).set_caching_options(False)
    moment(number=2)
    forward(text=first.output)


@family.scenario
def a_step_without_caching_always_runs(driver: Driver) -> None:
    _, after = twice(driver, one_uncached, {}, {})
    found = {name: after.state(name) for name in ("moment", "moment-2", "forward")}
    assert found == {"moment": SUCCEEDED, "moment-2": CACHED, "forward": SUCCEEDED}, after.story()


@dsl.pipeline(name="a-cache-key-of-ones-own")
def own_key(number: int):
    moment(number=number).set_caching_options(True, cache_key="mine")


@family.scenario
def a_key_of_ones_own_goes_before_the_inputs(driver: Driver) -> None:
    before, after = twice(driver, own_key, {"number": 1}, {"number": 2})
    assert after.state("moment") == CACHED, after.story()
    assert after.output("moment.Output") == before.output("moment.Output")


@dsl.pipeline(name="cached-artifacts")
def artifacts(text: str):
    read(data=write(text=text).outputs["data"])


@family.scenario
def artifacts_are_taken_from_before(driver: Driver) -> None:
    before, after = twice(driver, artifacts, {"text": "x"}, {"text": "x"})
    assert (after.state("write"), after.state("read")) == (CACHED, CACHED), after.story()
    assert after.artifacts("write.data")[0]["uri"] == before.artifacts("write.data")[0]["uri"]
    assert after.output("read.Output") == "x"


@dsl.pipeline(name="another-pipeline")
def another(number: int = 1):
    forward(text=moment(number=number).output)


@family.scenario
def another_pipeline_has_a_cache_of_its_own(driver: Driver) -> None:
    driver.run(chain, number=7)
    seen = driver.run(another, number=7)
    assert seen.state("moment") == SUCCEEDED, seen.story()


@light
def never(number: int) -> int:
    raise ValueError("never")


@dsl.pipeline(name="failing-steps-are-not-cached")
def failing():
    never(number=add(a=1).output)


@family.scenario
def what_failed_runs_again(driver: Driver) -> None:
    for state in (SUCCEEDED, CACHED):
        seen = driver.run(failing)
        assert seen.run.state == FAILED
        assert (seen.state("add"), seen.state("never")) == (state, FAILED), seen.story()


@dsl.pipeline(name="cached-loops")
def loop():
    with dsl.ParallelFor([1, 2, 3]) as item:
        moment(number=item)


@family.scenario
def iterations_are_cached_each_for_itself(driver: Driver) -> None:
    before, after = twice(driver, loop, {}, {})
    names = [f"for-loop-2/{each}/moment" for each in range(3)]
    assert [after.state(name) for name in names] == [CACHED] * 3, after.story()
    assert [after.output(f"{name}.Output") for name in names] == [before.output(f"{name}.Output") for name in names]


@dsl.pipeline(name="a-key-for-the-whole-run")
def whole_run(number: int):
    moment(number=number)


@family.scenario
def a_run_may_have_a_key_of_its_own(driver: Driver) -> None:
    package = driver.compile(whole_run)
    found: list[Seen] = []
    for number in (1, 2):
        result = driver.client.create_run_from_pipeline_package(
            package, arguments={"number": number}, enable_caching=True, cache_key="the run's"
        )
        found.append(driver.ended(result.run_id))
    assert [seen.state("moment") for seen in found] == [SUCCEEDED, CACHED], found[1].story()
