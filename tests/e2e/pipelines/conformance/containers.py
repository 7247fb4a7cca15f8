"""Container components: placeholders of every form, quoting, environment, images, and how a process may end."""

from typing import Optional

from kfp import dsl
from kfp.dsl import ConcatPlaceholder, Dataset, IfPresentPlaceholder, Input, Model, Output
from tests.e2e.pipelines.conformance.cases import FAILED, SUCCEEDED, Expect, Family
from tests.e2e.pipelines.conformance.seen import Seen
from tests.e2e.pipelines.conformance.steps import give_list, light, read_any, say, shell, write

family = Family("containers")

WRITE = 'mkdir -p "$(dirname "$0")"; printf "%s|" "$@" > "$0"'
"""Writes all words but the first, each followed by a bar, into the file that the first names."""


@dsl.container_component
def words(text: str, number: int, items: list, table: dict, flag: bool, x: float, said: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image="alpine:3", command=["sh", "-c", WRITE, said], args=[text, number, items, table, flag, x, f"<{text}>"]
    )


@family.case(
    Expect(outputs={"words.said": 'a "b" $c|3|[1,"x"]|{"k":{"l":null}}|true|2.5|<a "b" $c>|'}),
    text='a "b" $c',
    table={"k": {"l": None}},
)
@dsl.pipeline(name="values-as-words")
def values_as_words(text: str, table: dict):
    words(text=text, number=3, items=[1, "x"], table=table, flag=True, x=2.5)


@dsl.container_component
def concatenated(first: str, number: int, said: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image="alpine:3",
        command=["sh", "-c", WRITE, said],
        args=[ConcatPlaceholder(["--", first, "=", number]), ConcatPlaceholder(["a", ConcatPlaceholder([first, "b"])])],
    )


@family.case(Expect(outputs={"concatenated.said": '--x y"=7|ax y"b|'}))
@dsl.pipeline(name="concatenation")
def concatenation():
    concatenated(first='x y"', number=7)


@dsl.container_component
def present(said: dsl.OutputPath(str), name: Optional[str] = None, size: Optional[int] = None):
    return dsl.ContainerSpec(
        image="alpine:3",
        command=["sh", "-c", WRITE, said],
        args=[
            IfPresentPlaceholder("name", then=["--name", name], else_=["--anonymous"]),
            IfPresentPlaceholder("size", then=ConcatPlaceholder(["--size=", size])),
            "end",
        ],
    )


@family.case(
    Expect(
        outputs={
            "present.said": "--anonymous|end|",
            "present-2.said": "--name|n|end|",
            "present-3.said": "--name|n|--size=0|end|",
            "present-4.said": "--anonymous|end|",
        }
    )
)
@dsl.pipeline(name="if-present")
def if_present(name: Optional[str] = None):
    present()
    present(name="n")
    present(name="n", size=0)
    present(name=name)


@dsl.container_component
def nested_structures(said: dsl.OutputPath(str), prefix: str, name: Optional[str] = None):
    inner = IfPresentPlaceholder("name", then=ConcatPlaceholder([prefix, name]), else_="nobody")
    return dsl.ContainerSpec(
        image="alpine:3", command=["sh", "-c", WRITE, said], args=[ConcatPlaceholder(["<", inner, ">"])]
    )


@family.case(Expect(outputs={"nested-structures.said": "<nobody>|", "nested-structures-2.said": "<p-n>|"}))
@dsl.pipeline(name="if-present-within-a-concatenation")
def structures_within():
    nested_structures(prefix="p-")
    nested_structures(prefix="p-", name="n")


@dsl.container_component
def copy(data: Input[Dataset], model: Output[Model], seen: dsl.OutputPath(str)):
    script = 'mkdir -p "$(dirname "$1")" "$(dirname "$2")"; cat "$0" > "$1"; printf "%s %s" "$3" "$4" > "$2"'
    return dsl.ContainerSpec(
        image="alpine:3", command=["sh", "-c", script], args=[data.path, model.path, seen, data.uri, model.uri]
    )


def _uris(seen: Seen) -> None:
    source, target = seen.output("copy.seen").split()
    assert source == seen.artifacts("write.data")[0]["uri"]
    assert target == seen.artifacts("copy.model")[0]["uri"]


@family.case(Expect(outputs={"read-any.Output": "content"}, check=_uris))
@dsl.pipeline(name="paths-and-uris-of-artifacts")
def paths_and_uris():
    read_any(data=copy(data=write(text="content").outputs["data"]).outputs["model"])


@dsl.container_component
def executor_input(data: Input[Dataset], number: int, said: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image="alpine:3",
        command=["sh", "-c", 'mkdir -p "$(dirname "$1")"; printf "%s" "$0" > "$1"'],
        args=[dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER, said],
    )


def _executor_input(seen: Seen) -> None:
    import json

    found = json.loads(seen.output("executor-input.said"))
    assert found["inputs"]["parameterValues"] == {"number": 3}
    (artifact,) = found["inputs"]["artifacts"]["data"]["artifacts"]
    assert artifact["type"]["schemaTitle"] == "system.Dataset"
    assert artifact["uri"] == seen.artifacts("write.data")[0]["uri"]
    assert artifact["metadata"]["length"] == 1
    assert found["outputs"]["parameters"]["said"]["outputFile"]
    assert found["outputs"]["outputFile"]


@family.case(Expect(check=_executor_input))
@dsl.pipeline(name="the-executors-input")
def the_executors_input():
    executor_input(data=write(text="x").outputs["data"], number=3)


def _names(seen: Seen) -> None:
    found = seen.output("names.Output")
    assert found["job"] == seen.run.display_name, seen.story()
    assert found["run"] == seen.run.run_id
    assert found["task"] == "names"
    assert found["resource"].startswith("names-of-run")
    assert found["created"].endswith("Z")
    assert found["scheduled"] >= found["created"]
    assert found["within"] == f"run {seen.run.run_id}!"
    assert found["number"]


@light
def names(job: str, resource: str, run: str, task: str, number: str, created: str, scheduled: str, within: str) -> dict:
    return dict(locals())


@family.case(Expect(check=_names))
@dsl.pipeline(name="names-of-run-and-task")
def names_of_run_and_task():
    names(
        job=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
        resource=dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER,
        run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        task=dsl.PIPELINE_TASK_NAME_PLACEHOLDER,
        number=dsl.PIPELINE_TASK_ID_PLACEHOLDER,
        created=dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER,
        scheduled=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER,
        within=f"run {dsl.PIPELINE_JOB_ID_PLACEHOLDER}!",
    )


@family.case(Expect(outputs={"shell.said": "blue 1 $(COLOUR)\n", "say.Output": "x"}))
@dsl.pipeline(name="environment-variables")
def environment():
    task = shell(script='echo "$COLOUR $NUMBER $LITERAL"')
    task.set_env_variable("COLOUR", "blue").set_env_variable("NUMBER", "1").set_env_variable("LITERAL", "$$(COLOUR)")
    say(text="x").set_env_variable("UNUSED", "ü \n")


def _pod(seen: Seen) -> None:
    pod, uid = seen.output("shell.said").split()
    (known,) = [each for each in seen.tasks["shell"].message["pods"] if each.get("type") != "DRIVER"]
    assert known["name"] == pod
    assert len(uid) == 36


@family.case(Expect(check=_pod))
@dsl.pipeline(name="the-pods-own-name")
def the_pods_own_name():
    shell(script='echo "$KFP_POD_NAME $KFP_POD_UID"')


@family.case(Expect(outputs={"shell.said": "$HOME `x` $(y) \\n {{$.x}} {{z}} '\"\n"}))
@dsl.pipeline(name="literal-texts-stay")
def literal_texts():
    shell(script="cat <<'E'\n$HOME `x` $(y) \\n {{$.x}} {{z}} '\"\nE\n")


@dsl.container_component
def image_only():
    return dsl.ContainerSpec(image="alpine:3")


@family.case(Expect(states={"image-only": SUCCEEDED}))
@dsl.pipeline(name="the-images-own-command")
def the_images_own_command():
    image_only()


@dsl.component(base_image="python:3.9-does-not-matter", install_kfp_package=False)
def version() -> str:
    import sys

    return f"{sys.version_info.major}.{sys.version_info.minor}"


@family.case(Expect(outputs={"version.Output": "3.11", "version-2.Output": "3.11"}), image="python:3.11")
@dsl.pipeline(name="images-from-parameters")
def images_from_parameters(image: str):
    version().set_container_image(image)
    version().set_container_image(say(text="python:3.11").output)


@family.case(
    Expect(
        FAILED,
        states={"shell": FAILED, "shell-2": FAILED, "shell-3": SUCCEEDED},
        errors={"shell": "exit code 3: not good", "shell-2": "exit code 137"},
    )
)
@dsl.pipeline(name="how-a-process-ends")
def how_a_process_ends():
    shell(script="echo not good >&2; exit 3")
    shell(script="kill -9 $$")
    shell(script="true")


@family.case(Expect(outputs={"give-list.Output": ["a", {"b": "c"}]}), items=["a", {"b": "c"}])
@dsl.pipeline(name="shown-under-other-names")
def display_names(items: list):
    give_list(items=items).set_display_name("Show me: ü")


@dsl.component(base_image="python:3.11", packages_to_install=["tomli-w==1.2.0"])
def with_package(table: dict) -> str:
    import tomli_w

    return tomli_w.dumps(table)


@family.case(Expect(outputs={"with-package.Output": "a = 1\n"}))
@dsl.pipeline(name="packages-to-install")
def packages():
    with_package(table={"a": 1})


@dsl.container_component
def by_hand(document: str, output: str, made: Output[Dataset], said: dsl.OutputPath(str)):
    script = """
    mkdir -p "$(dirname "$1")"
    case "$0" in *parameterValues*) seen=yes;; *) seen=no;; esac
    printf '{"parameterValues": {"said": "%s"}, "artifacts": {"made": {"artifacts": [{"name": "made",' "$seen" > "$1"
    printf '"uri": "s3://elsewhere/by-hand", "metadata": {"made": "by hand"}}]}}}' >> "$1"
    """
    return dsl.ContainerSpec(image="alpine:3", command=["sh", "-c", script], args=[document, output])


@family.case(Expect(outputs={"by-hand.said": "yes"}, artifacts={"by-hand.made": ("Dataset", {"made": "by hand"})}))
@dsl.pipeline(name="the-executors-output-written-by-hand")
def written_by_hand():
    by_hand(
        document=dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER,
        output=dsl.PIPELINE_TASK_EXECUTOR_OUTPUT_PATH_PLACEHOLDER,
    )


@dsl.component(base_image="python:3.11", packages_to_install=["tomli-w==1.2.0"], use_venv=True)
def in_a_venv() -> str:
    import sys

    import tomli_w

    return tomli_w.dumps({"apart": sys.prefix != sys.base_prefix and "/opt/" not in sys.prefix})


@family.case(Expect(outputs={"in-a-venv.Output": "apart = true\n"}))
@dsl.pipeline(name="a-virtual-environment-of-the-steps-own")
def a_virtual_environment():
    in_a_venv()
