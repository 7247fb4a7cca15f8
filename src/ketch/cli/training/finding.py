"""Which job, and which runtime, the user's words mean. Problems are told in sentences for the user."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ketch.cli.training.jobs import ALL_KINDS, Job, Kind
from ketch.cli.training.trainjob import choose_runtime
from ketch.kube.errors import NotFound
from ketch.kube.rest import RESTClient
from ketch.training.trainjobs.types import ClusterTrainingRuntime, TrainingRuntime

_MOST_NAMED: Final = 8


class NotMeant(Exception):
    """The words mean nothing that there is, or too much; the message says what there is."""


async def find_job(client: RESTClient, namespace: str, words: str) -> Job:
    """The job of that name, or of ``kind/name``. Raises NotMeant."""
    kind, separator, name = words.partition("/")
    kinds: Sequence[Kind] = ALL_KINDS
    if separator:
        kinds = [each for each in ALL_KINDS if kind.lower() in (each.name.lower(), f"{each.name.lower()}s")]
        if not kinds:
            raise NotMeant(f"there is no kind {kind!r} of training job: {', '.join(each.name for each in ALL_KINDS)}")
    else:
        name = words
    found = [job for job in await asyncio.gather(*(_get(client, each, namespace, name) for each in kinds)) if job]
    if len(found) > 1:
        several = ", ".join(f"{job.kind.name.lower()}/{name}" for job in found)
        raise NotMeant(f"several jobs are called {name!r}: name one as {several}")
    if not found:
        raise NotMeant(f"there is no training job {words!r} in namespace {namespace}: see 'ketch jobs ls'")
    return found[0]


async def _get(client: RESTClient, kind: Kind, namespace: str, name: str) -> Job | None:
    try:
        return Job(kind, await client.request("GET", f"{kind.collection(namespace)}/{name}"))
    except NotFound:
        return None


async def list_jobs(client: RESTClient, namespace: str) -> Sequence[Job]:
    """Every job of a namespace, or of all where it is empty, newest first."""
    found: list[Job] = []
    for each in ALL_KINDS:
        try:
            answer = await client.request("GET", each.collection(namespace))
        except NotFound:
            continue  # this cluster has no such kind
        found += [Job(each, body) for body in answer["items"]]
    return sorted(found, key=lambda job: (job.body["metadata"].get("creationTimestamp", ""), job.name), reverse=True)


async def find_runtime(client: RESTClient, namespace: str, words: str) -> Mapping[str, Any]:
    """The runtime that is meant: the namespace's own before those of the cluster. Raises NotMeant."""
    found: list[Mapping[str, Any]] = []
    for kind in (TrainingRuntime, ClusterTrainingRuntime):
        scope = namespace if kind.resource.namespaced else ""
        try:
            answer = await client.request("GET", kind.resource.path(scope))
        except NotFound:
            continue
        found += [{**each, "kind": kind.resource.kind} for each in answer["items"]]
    chosen = choose_runtime(found, words)
    if chosen is None:
        names = ", ".join(sorted({each["metadata"]["name"] for each in found})[:_MOST_NAMED]) or "none"
        raise NotMeant(f"there is no runtime {words!r}: there are {names}")
    return chosen
