"""``ketch jobs``: training jobs listed, shown with what each rank does, read, stopped and removed."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from ketch.cli.cluster import Kubeconfig, Namespace, kubeconfig_of
from ketch.cli.messages import FAILED, USAGE, fail
from ketch.cli.options import DataDir
from ketch.cli.prefixes import PrefixedLines
from ketch.cli.runs.table import age, table
from ketch.cli.runs.tree import took
from ketch.cli.training.finding import find_job, list_jobs
from ketch.cli.training.following import Follower, lines_of, progress_line
from ketch.cli.training.jobs import Job, Member
from ketch.cli.training.train import follow, run
from ketch.kube.rest import RESTClient
from ketch.kube.transport import MERGE_PATCH

FORMS: Final = ("table", "name", "json")

Which = Annotated[str, typer.Argument(metavar="JOB", help="Its name, or kind/name.")]
Output = Annotated[str, typer.Option("--output", "-o", metavar="FORM", help=f"One of {', '.join(FORMS)}.")]


def ls(
    output: Output = "table",
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In every namespace.")] = False,
    namespace: Namespace = "default",
    kubeconfig: Kubeconfig = None,
    data_dir: DataDir = None,
) -> None:
    """List TrainJobs and kubeflow.org/v1 jobs, newest first."""
    _check_form(output)
    reach = kubeconfig_of(kubeconfig, data_dir)
    found = run(reach, lambda client: list_jobs(client, "" if everywhere else namespace))
    if output == "json":
        typer.echo(json.dumps([job.body for job in found], indent=1))
    elif output == "name":
        for job in found:
            typer.echo(f"{job.kind.name.lower()}/{job.name}")
    elif not found:
        typer.echo("no training jobs", err=True)
    else:
        now = datetime.now(UTC)
        headings = (*(("NAMESPACE",) if everywhere else ()), "JOB", "KIND", "STATE", "PROGRESS", "CREATED", "TOOK")
        rows = [(*((job.namespace,) if everywhere else ()), *_row(job, now)) for job in found]
        for line in table(headings, rows):
            typer.echo(line)


def _row(job: Job, now: datetime) -> Sequence[str]:
    ended = job.ended if job.end is not None else now
    return job.name, job.kind.name, job.state, job.progress(), age(job.created, now), took(job.created, ended)


def show(
    job: Which,
    output: Output = "table",
    namespace: Namespace = "default",
    kubeconfig: Kubeconfig = None,
    data_dir: DataDir = None,
) -> None:
    """Show how a job stands: its progress, its pods and what they use, and what each rank tells of itself."""
    _check_form(output)

    async def looked(client: RESTClient) -> Follower:
        follower = Follower(client, await find_job(client, namespace, job), PrefixedLines([]), typer.echo)
        await follower.look()
        return follower

    found = run(kubeconfig_of(kubeconfig, data_dir), looked)
    if output == "json":
        typer.echo(json.dumps(found.job.body, indent=1))
    elif output == "name":
        typer.echo(f"{found.job.kind.name.lower()}/{found.job.name}")
    else:
        for line in described(found.job, found.members, datetime.now(UTC)):
            typer.echo(line)


def described(job: Job, members: Sequence[Member], now: datetime) -> Sequence[str]:
    """The job in lines. Pure."""
    name, kind, state, _, created, lasted = _row(job, now)
    lines = [f"{kind} {name}  {state}  created {created}, {lasted}"]
    lines += [line for line in (progress_line(job), f"  {job.message}" if job.message else "") if line]
    usage: Mapping[str, Mapping[str, Any]] = {each["pod"]: each for each in job.status.get("usage", ())}
    if members:
        cells = [
            (each.name, each.pod, each.phase, str(each.restarts), *_used(usage.get(each.pod, {})), each.waits_for)
            for each in members
        ]
        lines += ["", *table(("NODE", "POD", "STATE", "RESTARTS", "CPU", "MEMORY", ""), cells)]
    ranks: Sequence[Mapping[str, Any]] = job.status.get("ranks", ())
    if ranks:
        headings = ("RANK", "STEP", "DONE", "STEPS/S", "SAMPLES/S", "CPU", "MEMORY", "GPU", "CHECKPOINT")
        lines += ["", *table(headings, [_rank(each) for each in ranks])]
    return lines


def _rank(told: Mapping[str, Any]) -> Sequence[str]:
    done = f"{told['progressPercentage']} %" if "progressPercentage" in told else ""
    gpu = [f"{told['gpuUtilization']} %"] if "gpuUtilization" in told else []
    gpu += [str(told["gpuMemory"])] if "gpuMemory" in told else []
    speeds = (str(told.get("stepsPerSecond", "")), str(told.get("samplesPerSecond", "")))
    last = (" ".join(gpu), str(told.get("checkpoint", "")))
    return str(told["rank"]), str(told.get("step", "")), done, *speeds, *_used(told), *last


def _used(told: Mapping[str, Any]) -> tuple[str, str]:
    return str(told.get("cpu", "")), str(told.get("memory", ""))


def logs(
    job: Which,
    node: Annotated[str, typer.Argument(help="Only this one: node-0, worker-1, ...")] = "",
    follow_on: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Only the last lines of each.")] = None,
    namespace: Namespace = "default",
    kubeconfig: Kubeconfig = None,
    data_dir: DataDir = None,
) -> None:
    """Print what a job's processes wrote, each line after its rank or node; of one node as it is."""
    if node and follow_on:
        fail("--follow is about the whole job: leave the node out, or use kubectl logs -f", USAGE)

    async def read(client: RESTClient) -> None:
        found = await find_job(client, namespace, job)
        if follow_on:
            await follow(client, found, tail)
            return
        follower = Follower(client, found, PrefixedLines([]), typer.echo, tail)
        await follower.look()
        if not node:
            await follower.read()
            return
        member = next((each for each in follower.members if node in (each.name, each.pod)), None)
        if member is None:
            there = ", ".join(each.name for each in follower.members) or "none any more"
            fail(f"{job} has no {node}: there are {there}", USAGE)
        if not member.has_begun:
            fail(f"{node} has not begun: {member.waits_for or member.phase}", FAILED)
        async with client.logs(member.pod, namespace, container=member.container, tail_lines=tail) as chunks:
            async for line in lines_of(chunks):
                typer.echo(line.decode(errors="replace"))

    run(kubeconfig_of(kubeconfig, data_dir), read)


def suspend(
    job: Which, namespace: Namespace = "default", kubeconfig: Kubeconfig = None, data_dir: DataDir = None
) -> None:
    """Stop a job's processes; it begins again, from its last checkpoint if it keeps some, when it is resumed."""
    _change(job, namespace, kubeconfig, data_dir, wanted=True)


def resume(
    job: Which, namespace: Namespace = "default", kubeconfig: Kubeconfig = None, data_dir: DataDir = None
) -> None:
    """Let a suspended job go on."""
    _change(job, namespace, kubeconfig, data_dir, wanted=False)


def _change(words: str, namespace: str, kubeconfig: Kubeconfig, data_dir: DataDir, *, wanted: bool) -> None:
    async def changed(client: RESTClient) -> None:
        job = await find_job(client, namespace, words)
        if job.end is not None:
            fail(f"{job.kind.name} {job.name} is over: {job.state.lower()}", FAILED)
        body = job.suspension(wanted)
        await client.patch(job.kind.of, job.name, namespace, body, content_type=MERGE_PATCH)
        typer.echo(f"{job.kind.name} {job.name} {'suspended' if wanted else 'resumed'}")

    run(kubeconfig_of(kubeconfig, data_dir), changed)


def delete(
    job: Which, namespace: Namespace = "default", kubeconfig: Kubeconfig = None, data_dir: DataDir = None
) -> None:
    """Remove a job with its pods, and with a checkpoint volume of its own that it was not told to keep."""

    async def deleted(client: RESTClient) -> None:
        found = await find_job(client, namespace, job)
        await client.delete(found.kind.of, found.name, namespace)
        typer.echo(f"{found.kind.name} {found.name} deleted")

    run(kubeconfig_of(kubeconfig, data_dir), deleted)


def _check_form(output: str) -> None:
    if output not in FORMS:
        fail(f"-o {output}: there are {', '.join(FORMS)}", USAGE)
