"""Failures: what a user is told, what still runs, and what does not."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Dataset, Output
from tests.e2e.pipelines.conformance.cases import FAILED, SUCCEEDED, Expect, Family
from tests.e2e.pipelines.conformance.driving import Driver
from tests.e2e.pipelines.conformance.seen import Seen
from tests.e2e.pipelines.conformance.steps import add, fail, light, say

family = Family("failures")


def _details(seen: Seen) -> None:
    (detail,) = [each for each in seen.run.run_details.task_details if each.display_name == "fail"]
    assert detail.state == FAILED
    assert "ValueError: told so" in detail.error.message


@family.case(
    Expect(
        FAILED,
        states={"fail": FAILED},
        errors={"fail": "ValueError: told so", "root": "told so"},
        run_error="told so",
        check=_details,
    )
)
@dsl.pipeline(name="an-exception")
def an_exception():
    fail(reason="told so")


@light
def leave(code: int) -> str:
    import sys

    print("last words", file=sys.stderr)
    sys.exit(code)


@family.case(
    Expect(FAILED, states={"leave": FAILED}, errors={"leave": "exit code 7: last words"}),
)
@dsl.pipeline(name="an-exit-code")
def an_exit_code():
    leave(code=7)


@light
def nap(text: str) -> str:
    import time

    time.sleep(2)
    return text


@family.case(
    Expect(
        FAILED,
        states={"nap": SUCCEEDED, "fail": FAILED},
        absent=("say", "add"),
    )
)
@dsl.pipeline(name="what-runs-goes-on-and-nothing-new-starts")
def fail_fast():
    running = nap(text="x")
    say(text=running.output)
    failed = fail()
    add(a=1).after(failed)


@light
def wrong_type() -> int:
    return "three"


@family.case(Expect(FAILED, states={"wrong-type": FAILED}, errors={"wrong-type": "want type <class 'int'>"}))
@dsl.pipeline(name="a-value-of-another-type")
def another_type():
    wrong_type()


@light
def partly() -> NamedTuple("Partly", [("one", int), ("two", int)]):
    return (1,)


@family.case(Expect(FAILED, states={"partly": FAILED}, errors={"partly": "Expected 2 return values"}))
@dsl.pipeline(name="fewer-outputs-than-declared")
def fewer_outputs():
    partly()


@dsl.container_component
def forgetful(said: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image="alpine:3", command=["true"], args=[said])


@family.case(Expect(FAILED, states={"forgetful": FAILED}, errors={"forgetful": "said"}, absent=("say",)))
@dsl.pipeline(name="an-output-that-was-not-written")
def not_written():
    say(text=forgetful().output)


@light
def broken():
    import does_not_exist  # noqa: F401


@family.case(Expect(FAILED, states={"broken": FAILED}, errors={"broken": "No module named 'does_not_exist'"}))
@dsl.pipeline(name="a-module-that-is-not-there")
def no_module():
    broken()


@dsl.container_component
def no_command():
    return dsl.ContainerSpec(image="alpine:3", command=["no-such-program"])


@family.case(Expect(FAILED, states={"no-command": FAILED}, errors={"no-command": "no-such-program"}))
@dsl.pipeline(name="a-program-that-is-not-there")
def no_program():
    no_command()


@dsl.component(base_image="python:3.11", packages_to_install=["ketch-no-such-package-at-all==9.9"])
def no_package() -> str:
    return "x"


@family.case(Expect(FAILED, states={"no-package": FAILED}, errors={"no-package": "ketch-no-such-package-at-all"}))
@dsl.pipeline(name="a-package-that-is-not-there")
def package_missing():
    no_package()


@dsl.container_component
def no_image():
    return dsl.ContainerSpec(image="registry.example.invalid/none:1", command=["true"])


@family.case(Expect(FAILED, states={"no-image": FAILED}, errors={"no-image": "registry.example.invalid/none:1"}))
@dsl.pipeline(name="an-image-that-cannot-be-had")
def image_missing():
    no_image()


@light
def half(data: Output[Dataset]) -> str:
    with open(data.path, "w") as file:
        file.write("half")
    raise RuntimeError("after writing")


def _no_outputs(seen: Seen) -> None:
    assert seen.artifacts("half.data") == [], seen.story()


@family.case(Expect(FAILED, states={"half": FAILED}, errors={"half": "after writing"}, check=_no_outputs))
@dsl.pipeline(name="outputs-of-a-failed-step-do-not-count")
def no_outputs():
    half()


@dsl.pipeline(name="typed-inputs")
def typed_inputs(number: int, items: list, text: str = "x"):
    add(a=number)


@family.scenario
def arguments_are_held_against_the_pipeline(driver: Driver) -> None:
    import kfp_server_api
    import pytest

    wrong = (
        ({"number": 1, "items": [], "other": 1}, "other"),
        ({"items": []}, "number"),
        ({"number": "one", "items": []}, "number"),
        ({"number": 1, "items": {"a": 1}}, "items"),
    )
    for arguments, name in wrong:
        with pytest.raises(kfp_server_api.ApiException, match=name):
            driver.start(typed_inputs, **arguments)


@light
def mixed(value: str) -> str:
    if value == "bad":
        raise ValueError("this one")
    return value


@family.case(
    Expect(
        FAILED,
        states={"for-loop-2/0/mixed": SUCCEEDED, "for-loop-2/1/mixed": FAILED},
        errors={"for-loop-2": "this one", "root": "this one"},
    )
)
@dsl.pipeline(name="one-bad-item")
def one_bad_item():
    with dsl.ParallelFor(["good", "bad"]) as item:
        mixed(value=item)
