"""Resources: limits and requests, from constants and parameters, and what happens beyond them."""

from kfp import dsl
from tests.e2e.pipelines.conformance.cases import FAILED, SUCCEEDED, Expect, Family
from tests.e2e.pipelines.conformance.driving import Driver
from tests.e2e.pipelines.conformance.settings import pod_of
from tests.e2e.pipelines.conformance.steps import add, light, say

family = Family("resources")


@dsl.pipeline(name="limits-and-requests")
def limited(cpu: str = "500m", memory: str = "256Mi"):
    add(a=1).set_cpu_limit("1").set_memory_limit("512Mi").set_cpu_request("100m").set_memory_request("64Mi")
    add(a=2).set_cpu_limit(cpu).set_memory_limit(memory)
    add(a=3).set_cpu_request(say(text="0.25").output).set_memory_request(say(text="32M").output)


@family.scenario
def limits_and_requests_reach_the_pod(driver: Driver) -> None:
    seen = driver.run(limited, memory="128Mi")
    assert seen.run.state == SUCCEEDED, seen.story()
    found = [pod_of(driver, seen, name)["spec"]["containers"][0]["resources"] for name in ("add", "add-2", "add-3")]
    assert found[0]["limits"] == {"cpu": "1", "memory": "512Mi"}
    assert found[0]["requests"] == {"cpu": "100m", "memory": "64Mi"}
    assert found[1]["limits"] == {"cpu": "500m", "memory": "128Mi"}
    assert found[2]["requests"] in ({"cpu": "0.25", "memory": "32M"}, {"cpu": "250m", "memory": "32M"})


@light
def grow(megabytes: int) -> int:
    import time

    data = bytearray(b"x") * (megabytes * 2**20)
    time.sleep(3)
    return len(data)


@family.case(Expect(FAILED, states={"grow": FAILED}, errors={"grow": "OOMKilled"}))
@dsl.pipeline(name="more-memory-than-the-limit")
def more_memory():
    grow(megabytes=400).set_memory_limit("100Mi")


@family.case(Expect(FAILED, states={"say": FAILED}, errors={"say": "much"}), amount="much")
@dsl.pipeline(name="a-quantity-that-is-none")
def no_quantity(amount: str):
    say(text="x").set_memory_limit(amount)


@dsl.pipeline(name="accelerators")
def accelerated(kind: str, count: str):
    say(text="x").set_accelerator_type(kind).set_accelerator_limit(count)


@family.scenario
def a_step_waits_for_an_accelerator_and_says_so(driver: Driver) -> None:
    from tests.e2e.platforms import eventually

    run_id = driver.start(accelerated, kind="nvidia.com/gpu", count="2")
    eventually(lambda: "nvidia.com/gpu" in driver.seen(run_id).error("say"), what="the reason")
    limits = pod_of(driver, driver.seen(run_id), "say")["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"nvidia.com/gpu": "2"}
    driver.client.terminate_run(run_id)
    driver.ended(run_id)


@family.case(Expect(outputs={"for-loop-2/0/add.Output": 2, "for-loop-2/1/add.Output": 3}))
@dsl.pipeline(name="limits-within-loops")
def within_loops(memory: str = "200Mi"):
    with dsl.ParallelFor([1, 2]) as item:
        add(a=item).set_memory_limit(memory).set_cpu_limit("1")
