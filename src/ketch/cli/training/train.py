"""``ketch train``: a script or a function trains on several nodes, followed to its end; or a job is followed again."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import typer

from ketch.cli.cluster import Kubeconfig, Namespace, cluster, kubeconfig_of
from ketch.cli.messages import FAILED, INTERRUPTED, UNAVAILABLE, USAGE, fail
from ketch.cli.options import DataDir
from ketch.cli.prefixes import PrefixedLines
from ketch.cli.training import jobs
from ketch.cli.training.finding import NotMeant, find_job, find_runtime
from ketch.cli.training.following import Follower, JobDeleted, exit_code
from ketch.cli.training.jobs import Job
from ketch.cli.training.options import (
    CPU,
    GPU,
    Arguments,
    Beside,
    Checkpoints,
    Claim,
    Detach,
    Image,
    Keep,
    Memory,
    Name,
    Nodes,
    Processes,
    Restarts,
    Runtime,
    Timeout,
    Variables,
    What,
    resources_of,
    variables_of,
)
from ketch.cli.training.packaging import PackagingProblem, Program, is_program, package
from ketch.cli.training.trainjob import API_VERSION, LONGEST_NAME, Wish, config_map_name, config_map_of, trainjob_of
from ketch.kube.config import ConfigError
from ketch.kube.errors import APIError, TransportError
from ketch.kube.rest import RESTClient
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.core import ConfigMap
from ketch.training.checkpoints.contract import AUTO

T = TypeVar("T")

_RANDOM_BYTES: Final = 2


def train(
    what: What,
    arguments: Arguments = None,
    nodes: Nodes = None,
    procs: Processes = None,
    runtime: Runtime = "torch",
    image: Image = "",
    name: Name = "",
    beside: Beside = None,
    env: Variables = None,
    cpu: CPU = "",
    memory: Memory = "",
    gpu: GPU = 0,
    checkpoints: Checkpoints = False,
    claim: Claim = "",
    keep: Keep = "",
    restarts: Restarts = 0,
    timeout: Timeout = None,
    detach: Detach = False,
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
    if keep and not (checkpoints or claim):
        fail("--keep is about checkpoints: add --checkpoints", USAGE)
    program = _packaged(what, arguments or (), beside or ())
    wish = Wish(
        name or f"{program.name[: LONGEST_NAME - 5]}-{secrets.token_hex(_RANDOM_BYTES)}",
        namespace,
        program,
        nodes=nodes,
        processes=procs or gpu or 1,
        image=image,
        environment=variables_of(env or ()),
        resources=resources_of(cpu, memory, gpu),
        checkpoints=claim or (AUTO if checkpoints else ""),
        keep=keep,
        restarts=restarts,
        deadline=timeout,
    )
    run(reach, lambda client: _submit(client, wish, runtime, follow_on=not detach))


def _packaged(what: str, arguments: Sequence[str], beside: Sequence[Path]) -> Program:
    try:
        return package(what, arguments, beside)
    except PackagingProblem as problem:
        fail(str(problem), USAGE)


async def _submit(client: RESTClient, wish: Wish, runtime: str, *, follow_on: bool) -> None:
    found = await find_runtime(client, wish.namespace, runtime)
    job = await _create(client, replace(wish, runtime=found))
    if follow_on:
        typer.echo(f"TrainJob {job.name} in namespace {job.namespace}, on {found['metadata']['name']}", err=True)
        await follow(client, job)
    else:
        typer.echo(job.name)


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
