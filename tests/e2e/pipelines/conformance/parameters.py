"""Parameters: every type, defaults, optional inputs, conversions, constants and what looks like something else."""

from typing import NamedTuple, Optional

from kfp import dsl
from tests.e2e.pipelines.conformance.cases import FAILED, Expect, Family
from tests.e2e.pipelines.conformance.seen import Seen
from tests.e2e.pipelines.conformance.steps import add, describe, fail, give_dict, give_list, halve, light, say, shell

family = Family("parameters")

AWKWARD = 'quotes " \' `x` $HOME $(id) $$ \\n \\\\ {{y}} {{$.z}} {"a": 1} \n\ttab snow ☃ \U0001f600 end'
DEEP = {"a": [1, 2.5, None, True, {"b": {"c": ["ü", "\n", ""]}}], "": {}, "k k": [[], [[]]]}


@family.case(Expect(outputs={"add.Output": 5, "root.Output": 5}), a=2, b=3)
@dsl.pipeline(name="ints")
def ints(a: int, b: int) -> int:
    return add(a=a, b=b).output


@family.case(Expect(outputs={"halve.Output": 1.25, "halve-2.Output": 2, "halve-3.Output": -0.0005}), x=2.5)
@dsl.pipeline(name="floats")
def floats(x: float):
    halve(x=x)
    halve(x=4.0)
    halve(x=-1e-3)


@light
def invert(flag: bool) -> bool:
    assert isinstance(flag, bool)
    return not flag


@family.case(Expect(outputs={"invert.Output": False, "invert-2.Output": True}), flag=True)
@dsl.pipeline(name="booleans")
def booleans(flag: bool):
    invert(flag=invert(flag=flag).output)


@family.case(Expect(outputs={"say.Output": AWKWARD, "say-2.Output": AWKWARD}), text=AWKWARD)
@dsl.pipeline(name="awkward-texts")
def awkward_texts(text: str):
    say(text=say(text=text).output)


@family.case(Expect(outputs={"say.Output": AWKWARD}))
@dsl.pipeline(name="awkward-constants")
def awkward_constants():
    say(text=AWKWARD)


@family.case(Expect(outputs={"say.Output": "", "say-2.Output": ""}), text="")
@dsl.pipeline(name="empty-texts")
def empty_texts(text: str):
    say(text=say(text=text).output)


@family.case(Expect(outputs={"give-list.Output": [1, "two", 3.5, "", True, [4]], "describe.Output": "[1, 2, 3]"}))
@dsl.pipeline(name="lists")
def lists():
    give_list(items=[1, "two", 3.5, "", True, [4]])
    describe(value=give_list(items=[1, 2, 3.0]).output)


@family.case(Expect(outputs={"give-dict.Output": DEEP, "give-dict-2.Output": DEEP}), table=DEEP)
@dsl.pipeline(name="deep-dictionaries")
def deep_dictionaries(table: dict):
    give_dict(table=give_dict(table=table).output)


@family.case(Expect(outputs={"give-list.Output": [], "give-dict.Output": {}}), items=[], table={})
@dsl.pipeline(name="empty-collections")
def empty_collections(items: list, table: dict):
    give_list(items=items)
    give_dict(table=table)


@light
def typed(values: list[int], table: dict[str, float]) -> dict[str, list[int]]:
    assert all(type(each) is int for each in values), values
    return dict.fromkeys(table, values)


@family.case(Expect(outputs={"typed.Output": {"x": [1, 2]}}), values=[1, 2], table={"x": 1.0})
@dsl.pipeline(name="typed-collections")
def typed_collections(values: list[int], table: dict[str, float]):
    typed(values=values, table=table)


@light
def exact(values: list, table: dict) -> str:
    return " ".join(type(each).__name__ for each in [*values, *table.values()])


@family.case(Expect(outputs={"exact.Output": "int float int int"}), values=[1.0, 1.5], table={"a": 2.0, "b": 2**53 - 1})
@dsl.pipeline(name="integral-doubles-are-ints")
def integral_doubles(values: list, table: dict):
    exact(values=values, table=table)


@family.case(Expect(outputs={"add.Output": 2**53 - 1, "add-2.Output": -(2**53) + 2}), big=2**53 - 2)
@dsl.pipeline(name="large-integers")
def large_integers(big: int):
    add(a=big, b=1)
    add(a=-(2**53) + 1, b=1)


@light
def several(number: int) -> NamedTuple("Several", [("half", float), ("text", str), ("pair", list), ("yes", bool)]):
    return (number / 2, str(number), [number, number + 1], True)


@family.case(
    Expect(
        outputs={
            "several.half": 1.5,
            "several.text": "3",
            "several.pair": [3, 4],
            "several.yes": True,
            "describe.Output": "[3, 4]",
            "halve.Output": 0.75,
        }
    )
)
@dsl.pipeline(name="named-tuples")
def named_tuples(number: int = 3):
    made = several(number=number)
    describe(value=made.outputs["pair"])
    halve(x=made.outputs["half"])


@light
def defaults(
    number: int = 3, text: str = "d", flag: bool = True, x: float = 0.5, items: list = [1], table: dict = {"a": "b"}
) -> list:
    return [number, text, flag, x, items, table]


@family.case(
    Expect(
        outputs={
            "defaults.Output": [3, "d", True, 0.5, [1], {"a": "b"}],
            "defaults-2.Output": [0, "", False, 0, [], {}],
        }
    )
)
@dsl.pipeline(name="defaults-of-components")
def defaults_of_components():
    defaults()
    defaults(number=0, text="", flag=False, x=0.0, items=[], table={})


@family.case(
    Expect(outputs={"defaults.Output": [7, "p", False, 1.5, [2], {"b": 1}]}),
    text="p",
)
@dsl.pipeline(name="defaults-of-pipelines")
def defaults_of_pipelines(
    number: int = 7,
    text: str = "q",
    flag: bool = False,
    x: float = 1.5,
    items: list = [2],
    table: dict = {"b": 1},
):
    defaults(number=number, text=text, flag=flag, x=x, items=items, table=table)


@light
def optional(text: Optional[str] = None, number: Optional[int] = 5, items: Optional[list] = None) -> list:
    return [text, number, items]


@family.case(
    Expect(
        outputs={
            "optional.Output": [None, 5, None],
            "optional-2.Output": ["t", 6, [1]],
            "optional-3.Output": [None, 5, None],
        }
    ),
)
@dsl.pipeline(name="optional-inputs")
def optional_inputs(text: Optional[str] = None, number: Optional[int] = None, items: Optional[list] = None):
    optional()
    optional(text="t", number=6, items=[1])
    optional(text=text, number=number, items=items)


@family.case(Expect(outputs={"say.Output": "3", "say-2.Output": "0.5", "say-3.Output": "true"}))
@dsl.pipeline(name="strings-take-anything")
def strings_take_anything(number: int = 3, x: float = 0.5, flag: bool = True):
    say(text=str(number))
    say(text=str(x))
    say(text=f"{flag}")


@family.case(Expect(outputs={"halve.Output": 1.5, "add.Output": 5}), x=3, number=4.0)
@dsl.pipeline(name="ints-are-floats-and-integral-floats-ints")
def ints_are_floats(x: float, number: int):
    halve(x=x)
    add(a=number)


@family.case(
    Expect(outputs={"say.Output": 'a=1 b=x c=[1,2] and {"k":true}', "say-3.Output": "x-x-1"}),
    number=1,
    text="x",
    items=[1, 2],
    table={"k": True},
)
@dsl.pipeline(name="f-strings")
def f_strings(number: int, text: str, items: list, table: dict):
    say(text=f"a={number} b={text} c={items} and {table}")
    say(text=f"{say(text=text).set_display_name('inner').output}-{text}-{number}")


@family.case(
    Expect(outputs={"say.Output": 'got "x"\nand {"y"}', "say-2.Output": "<{{$.inputs.parameters['text']}}>"}),
    text='"x"\nand {"y"}',
    trick="{{$.inputs.parameters['text']}}",
)
@dsl.pipeline(name="f-strings-with-awkward-values")
def f_strings_with_awkward_values(text: str, trick: str):
    say(text=f"got {text}")
    say(text=f"<{trick}>")


@family.case(Expect(outputs={"give-list.Output": ["x", "a-x"], "give-dict.Output": {"k": "x", "x": ["x"]}}), text="x")
@dsl.pipeline(name="values-within-constants")
def values_within_constants(text: str):
    give_list(items=[text, f"a-{text}"])
    give_dict(table={"k": text, "x": [text]})


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def to_file(text: str, made: dsl.OutputPath(str), count: dsl.OutputPath(int), table: dsl.OutputPath(dict)):
    for path, content in ((made, f" {text}\n"), (count, " 7 \n"), (table, '{"a": [1, 2.0]}')):
        with open(path, "w") as file:
            file.write(content)


@family.case(Expect(outputs={"to-file.made": " x\n", "to-file.count": 7, "to-file.table": {"a": [1, 2]}}))
@dsl.pipeline(name="output-paths")
def output_paths():
    to_file(text="x")


@dsl.container_component
def bool_file(text: str, flag: dsl.OutputPath(bool), items: dsl.OutputPath(list), x: dsl.OutputPath(float)):
    script = 'mkdir -p "$(dirname "$1")"; printf "$0" > "$1"; printf "[1,\\"b\\"]" > "$2"; printf "2.50" > "$3"'
    return dsl.ContainerSpec(image="alpine:3", command=["sh", "-c", script], args=[text, flag, items, x])


@family.case(
    Expect(
        outputs={
            "bool-file.flag": True,
            "bool-file-2.flag": False,
            "bool-file-3.flag": True,
            "bool-file.items": [1, "b"],
            "bool-file.x": 2.5,
        }
    )
)
@dsl.pipeline(name="files-are-parsed-by-type")
def files_are_parsed():
    bool_file(text="True\n")
    bool_file(text="0")
    bool_file(text="t")


@family.case(
    Expect(
        FAILED,
        states={"bool-file": FAILED, "bool-file-2": FAILED},
        errors={"bool-file": "flag", "bool-file-2": "flag"},
    )
)
@dsl.pipeline(name="a-file-of-another-type-fails")
def a_file_of_another_type():
    bool_file(text="yes")
    bool_file(text="")


@family.case(Expect(outputs={"shell.said": "line one\nline two\n", "say.Output": "line one\nline two\n"}))
@dsl.pipeline(name="texts-are-not-trimmed")
def texts_are_not_trimmed():
    say(text=shell(script="echo line one; echo line two").output)


@family.case(
    Expect(outputs={"root.total": 6, "root.text": "6", "root.items": [1, 2]}, states={"add": "SUCCEEDED"}), a=2
)
@dsl.pipeline(name="outputs-of-pipelines")
def outputs_of_pipelines(a: int) -> NamedTuple("Outs", [("total", int), ("text", str), ("items", list)]):
    made = add(a=a, b=4)
    outs = NamedTuple("Outs", [("total", int), ("text", str), ("items", list)])
    items = give_list(items=[1, 2]).output
    return outs(total=made.output, text=say(text=f"{made.output}").output, items=items)


@light
def nothing():
    pass


@family.case(Expect(states={"nothing": "SUCCEEDED", "nothing-2": "SUCCEEDED"}))
@dsl.pipeline(name="without-inputs-and-outputs")
def without_anything():
    nothing().after(nothing())


@family.case(
    Expect(FAILED, states={"fail": FAILED}, absent=("say",), errors={"fail": "ValueError: x"}),
)
@dsl.pipeline(name="an-output-that-never-came")
def an_output_that_never_came():
    say(text=fail(reason="x").output)


def _macros(seen: Seen) -> None:
    run, moment = seen.output("say.Output").split(" at ")
    assert run == f"run {seen.run.run_id}", seen.story()
    assert moment.startswith("20"), seen.story()


@family.case(Expect(check=_macros), text="run [[RunUUID]] at [[CurrentTime]]")
@dsl.pipeline(name="macros-in-arguments")
def macros(text: str):
    say(text=text)
