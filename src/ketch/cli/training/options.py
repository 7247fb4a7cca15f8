"""The options of ``ketch train``, and what is wrong with what was given for them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from ketch.cli.messages import USAGE, fail
from ketch.kube.quantities import QuantityError, parse_quantity

What = Annotated[
    str, typer.Argument(metavar="WHAT", help="script.py, module:function, or the name of a job to follow again.")
]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="ARGUMENT", help="For the script (after --), or name=value for the function."),
]
Nodes = Annotated[int | None, typer.Option(min=1, help="How many nodes [default: as the runtime says].")]
Processes = Annotated[
    int | None, typer.Option(min=1, help="Processes on each node [default: one, or one for each of its GPUs].")
]
Runtime = Annotated[str, typer.Option(metavar="NAME", help="A runtime, or its framework.")]
Image = Annotated[str, typer.Option(help="Instead of the runtime's.")]
Name = Annotated[str, typer.Option(help="The job's name [default: made from the program's].")]
Beside = Annotated[list[Path] | None, typer.Option("--with", metavar="PATH", help="A file or folder that travels too.")]
Variables = Annotated[list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="A variable.")]
CPU = Annotated[str, typer.Option(metavar="QUANTITY", help="CPUs of each node.")]
Memory = Annotated[str, typer.Option(metavar="QUANTITY", help="Memory of each node.")]
GPU = Annotated[int, typer.Option(min=0, help="GPUs of each node.")]
Checkpoints = Annotated[bool, typer.Option("--checkpoints", help="Keep checkpoints on a volume of the job's own.")]
Claim = Annotated[str, typer.Option("--checkpoint-claim", metavar="NAME", help="Keep checkpoints on this claim.")]
Keep = Annotated[str, typer.Option("--keep", metavar="NUMBER", help="How many checkpoints are kept, or all.")]
Restarts = Annotated[int, typer.Option(min=0, help="How often all begin again when one fails.")]
Timeout = Annotated[int | None, typer.Option(min=1, metavar="SECONDS", help="End it after so long.")]
Detach = Annotated[bool, typer.Option("--detach", help="Submit only; print the job's name.")]

_VARIABLE: Final = re.compile(r"[A-Za-z_]\w*")
_GPU: Final = "nvidia.com/gpu"


def variables_of(given: Sequence[str]) -> Mapping[str, str]:
    """The variables; ends the command where one is none."""
    found: dict[str, str] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not _VARIABLE.fullmatch(name):
            fail(f"-e takes NAME=VALUE, not {text!r}", USAGE)
        found[name] = value
    return found


def resources_of(cpu: str, memory: str, gpu: int) -> Mapping[str, str]:
    """What each node is to have; ends the command where that is no quantity."""
    for option, text in (("cpu", cpu), ("memory", memory)):
        try:
            if text and parse_quantity(text) <= 0:
                fail(f"--{option}: {text} is not positive", USAGE)
        except QuantityError:
            fail(f"--{option}: {text!r} is no quantity: give one like 2, 500m or 1.5Gi", USAGE)
    found = {"cpu": cpu, "memory": memory, _GPU: str(gpu or "")}
    return {name: text for name, text in found.items() if text}
