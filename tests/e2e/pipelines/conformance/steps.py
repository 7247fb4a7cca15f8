"""Components that many cases share. Each is as small as it can be: what is tested is what stands between them."""

from functools import partial
from typing import Any

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

light: Any = partial(dsl.component, base_image="python:3.11", install_kfp_package=False)
"""A component that needs nothing beyond the image; the SDK's own default installs itself first."""


@light
def add(a: int, b: int = 1) -> int:
    return a + b


@light
def halve(x: float) -> float:
    return x / 2


@light
def say(text: str) -> str:
    return text


@light
def flip(heads: bool = True) -> bool:
    return heads


@light
def give_list(items: list) -> list:
    return items


@light
def give_dict(table: dict) -> dict:
    return table


@light
def numbers(count: int) -> list:
    return list(range(count))


@light
def total(values: list) -> int:
    return sum(values)


@light
def describe(value: list) -> str:
    import json

    return json.dumps(value)


@light
def fail(reason: str = "as asked") -> str:
    raise ValueError(reason)


@light
def write(text: str, data: Output[Dataset]):
    with open(data.path, "w") as file:
        file.write(text)
    data.metadata["length"] = len(text)


@light
def read(data: Input[Dataset]) -> str:
    with open(data.path) as file:
        return file.read()


@light
def read_any(data: Input[Artifact]) -> str:
    with open(data.path) as file:
        return file.read()


@light
def train(data: Input[Dataset], model: Output[Model], rate: float = 0.5):
    with open(data.path) as file, open(model.path, "w") as target:
        target.write(file.read().upper())
    model.metadata["rate"] = rate
    model.metadata["framework"] = "none"


@light
def join(parts: Input[list[Dataset]]) -> str:
    texts = []
    for part in parts:
        with open(part.path) as file:
            texts.append(file.read())
    return ",".join(texts)


@dsl.container_component
def shell(script: str, said: dsl.OutputPath(str)):
    """Runs ``script``; what it prints is the output."""
    body = 'mkdir -p "$(dirname "$1")" && sh -c "$0" > "$1"'
    return dsl.ContainerSpec(image="alpine:3", command=["sh", "-c", body], args=[script, said])
