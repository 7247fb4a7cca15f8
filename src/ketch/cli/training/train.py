"""``ketch train``: a script or a function trains on several nodes, followed to its end; or a job is followed again."""

import asyncio
import re
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from ketch.cli.cluster import Kubeconfig, Namespace, cluster, kubeconfig_of
from ketch.cli.messages import FAILED, INTERRUPTED, UNAVAILABLE, USAGE, fail
from ketch.cli.options import DataDir
from ketch.cli.prefixes import PrefixedLines
from ketch.cli.training import jobs
from ketch.cli.training.finding import NotMeant, find_job, find_runtime
from ketch.cli.training.following import Follower, JobDeleted, exit_code
from ketch.cli.training.jobs import Job
from ketch.cli.training.packaging import PackagingProblem, Program, is_program, package
from ketch.cli.training.trainjob import API_VERSION, LONGEST_NAME, Wish, config_map_name, config_map_of, trainjob_of
from ketch.kube.config import ConfigError
from ketch.kube.errors import APIError, TransportError
from ketch.kube.quantities import QuantityError, parse_quantity
from ketch.kube.rest import RESTClient
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.core import ConfigMap
from ketch.training.checkpoints.contract import AUTO

T = TypeVar("T")

_RANDOM_BYTES: Final = 2
_VARIABLE: Final = re.compile(r"[A-Za-z_]\w*")
_GPU: Final = "nvidia.com/gpu"


def train(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="script.py, module:function, or the name of a job to follow again.")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGUMENT", help="For the script (after --), or name=value for the function."),
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="How many nodes [default: as the runtime says].")] = None,
    procs: Annotated[
        int | None, typer.Option(min=1, help="Processes on each node [default: one, or one for each of its GPUs].")
    ] = None,
    runtime: Annotated[str, typer.Option(metavar="NAME", help="A runtime, or its framework.")] = "torch",
    image: Annotated[str, typer.Option(help="Instead of the runtime's.")] = "",
    name: Annotated[str, typer.Option(help="The job's name [default: made from the program's].")] = "",
    beside: Annotated[
        list[Path] | None, typer.Option("--with", metavar="PATH", help="A file or folder that travels too.")
    ] = None,
    env: Annotated[list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="A variable.")] = None,
    cpu: Annotated[str, typer.Option(metavar="QUANTITY", help="CPUs of each node.")] = "",
    memory: Annotated[str, typer.Option(metavar="QUANTITY", help="Memory of each node.")] = "",
    gpu: Annotated[int, typer.Option(min=0, help="GPUs of each node.")] = 0,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Keep checkpoints on a volume of the job's own.")
    ] = False,
    claim: Annotated[str, typer.Option("--checkpoint-claim", metavar="NAME", help="... or on this claim.")] = "",
    keep: Annotated[str, typer.Option("--keep", metavar="NUMBER", help="How many checkpoints are kept.")] = "",
    restarts: Annotated[int, typer.Option(min=0, help="How often all begin again when one fails.")] = 0,
    timeout: Annotated[int | None, typer.Option(min=1, metavar="SECONDS", help="End it after so long.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Submit only; print the job's name.")] = False,
    namespace: Namespace = "default",
    kubeconfig: Kubeconfig = None,
    data_dir: DataDir = None,
) -> None:
    """Train a script or function as a TrainJob and follow it; or follow a job that is there.

    Each line is printed after its rank. Exit code: the job's, which is that of the process that failed; 2: bad input;
    3: no platform; 130: no longer followed (Ctrl-C), the job goes on.
    """
    reach = kubeconfig_of(kubeconfig, data_dir)
    if not is_program(what):
        if arguments:
            fail(f"{what} is no script: there is nothing to give {arguments[0]!r} to", USAGE)
        run(reach, lambda client: _attach(client, namespace, what))
        return
    resources = {"cpu": cpu, "memory": memory, _GPU: str(gpu or "")}
    _check_quantities(resources)
    if keep and not (checkpoints or claim):
        fail("--keep is about checkpoints: add --checkpoints", USAGE)
    program = _packaged(what, arguments or (), beside or ())
    variables = _variables(env or ())

    async def submit(client: RESTClient) -> None:
        wish = Wish(
            name or f"{program.name[: LONGEST_NAME - 5]}-{secrets.token_hex(_RANDOM_BYTES)}",
            namespace,
            program,
            await find_runtime(client, namespace, runtime),
            nodes,
            procs or gpu or 1,
            image,
            variables,
            {key: value for key, value in resources.items() if value},
            claim or (AUTO if checkpoints else ""),
            keep,
            restarts,
            timeout,
        )
        job = await _create(client, wish)
        if detach:
            typer.echo(job.name)
        else:
            typer.echo(f"TrainJob {job.name} in namespace {namespace}, on {wish.runtime['metadata']['name']}", err=True)
            await follow(client, job)

    run(reach, submit)


def _packaged(what: str, arguments: Sequence[str], beside: Sequence[Path]) -> Program:
    try:
        return package(what, arguments, beside)
    except PackagingProblem as problem:
        fail(str(problem), USAGE)


def _variables(given: Sequence[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not _VARIABLE.fullmatch(name):
            fail(f"-e takes NAME=VALUE, not {text!r}", USAGE)
        found[name] = value
    return found


def _check_quantities(resources: Mapping[str, str]) -> None:
    for name, text in resources.items():
        try:
            if text and parse_quantity(text) <= 0:
                fail(f"--{name}: {text} is not positive", USAGE)
        except QuantityError:
            fail(f"--{name}: {text!r} is no quantity: give one like 2, 500m or 1.5Gi", USAGE)


async def _create(client: RESTClient, wish: Wish) -> Job:
    """The files first, so that no pod waits for them; they go with the job."""
    files = f"/api/v1/namespaces/{wish.namespace}/configmaps"
    collection = jobs.TRAINJOB.collection(wish.namespace)
    body = trainjob_of(wish)
    await client.request("POST", collection, {"dryRun": "All"}, body)  # nothing is left behind by what is refused
    made = await client.request("POST", files, body=config_map_of(wish))
    try:
        job = Job(jobs.TRAINJOB, await client.request("POST", collection, body=body))
    except APIError:
        await client.request("DELETE", f"{files}/{made['metadata']['name']}")
        raise
    owner = {"apiVersion": API_VERSION, "kind": job.kind.name, "name": job.name, "uid": job.body["metadata"]["uid"]}
    change = {"metadata": {"ownerReferences": [owner]}}
    await client.patch(ConfigMap, config_map_name(wish.name), wish.namespace, change, content_type=MERGE_PATCH)
    return job


async def _attach(client: RESTClient, namespace: str, words: str) -> None:
    job = await find_job(client, namespace, words)
    typer.echo(f"{job.kind.name} {job.name}: {job.state.lower()}", err=True)
    await follow(client, job)


async def follow(client: RESTClient, job: Job, tail: int | None = None) -> None:
    """Follow the job to its end, which becomes the command's."""
    follower = Follower(client, job, PrefixedLines([]), lambda line: typer.echo(line, err=True), tail)
    try:
        ended = await follower.follow()
    except JobDeleted as gone:
        fail(str(gone), FAILED)
    except asyncio.CancelledError:
        typer.echo(
            f"\nketch: no longer followed: {job.name} goes on. 'ketch train {job.name}' follows it again,"
            f" 'ketch jobs suspend {job.name}' stops it, 'ketch jobs delete {job.name}' removes it",
            err=True,
        )
        raise
    code = exit_code(ended, follower.members)
    if code:
        fail(f"{ended.kind.name} {ended.name} failed: {ended.message}", code)
    typer.echo(f"{ended.kind.name} {ended.name} {ended.state.lower()}", err=True)


def run(kubeconfig: Path, work: Callable[[RESTClient], Coroutine[Any, Any, T]]) -> T:
    """Do it with the cluster's API; what goes wrong ends the command in a sentence."""

    async def reached() -> T:
        async with cluster(kubeconfig) as client:
            return await work(client)

    try:
        return asyncio.run(reached())
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except (NotMeant, ConfigError) as problem:
        fail(str(problem), USAGE)
    except TransportError as error:
        fail(f"the cluster does not answer: {error}", UNAVAILABLE)
    except APIError as error:
        fail(_refusal(error), USAGE)


def _refusal(error: APIError) -> str:
    """The API's own words, a line for each field at fault."""
    if len(error.causes) < 2:
        return error.message
    return "\n  ".join(["the job is not accepted:", *(f"{each.field}: {each.message}" for each in error.causes)])
