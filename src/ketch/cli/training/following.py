"""A job followed to its end: what its processes write side by side, and how it stands in between."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from ketch.cli.prefixes import PrefixedLines
from ketch.cli.runs.steps import part
from ketch.cli.training.jobs import FAILED, SUCCEEDED, SUSPENDED, Job, Member, members_of
from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.errors import APIError, NotFound, TransportError
from ketch.kube.rest import RESTClient

LOOK_AGAIN_AFTER: Final = 0.25
QUIET_SECONDS: Final = 2.0
"""For so long nothing is said of a pod that waits: most do not wait longer."""

PATIENCE: Final = 30.0
"""Seconds for which a platform that was there may be away: its processes are started again when they die."""

PROGRESS_SECONDS: Final = 5.0
LAST_WORDS_SECONDS: Final = 10.0
"""How long the end of the logs is waited for, when the job is over."""

TOGETHER: Final = timedelta(seconds=2)
_FOLLOW_ON: Final = (1, 134, 143)
"""Exit codes by which processes end because another one did: of an error, an abort, a signal; the last tells least."""

_RANK: Final = re.compile(rb"(?:\[rank(\d+)\]:?|\[\d+,(\d+)\]<std(?:out|err)>:) ?")
"""How torchrun (as the launcher asks it to) and mpirun mark whose line it is."""

Tell = Callable[[str], None]


class JobDeleted(Exception):
    """There is no such job any more."""


class Follower:
    """Follows one job. ``tell`` hears, in a line each, how it stands."""

    def __init__(self, client: RESTClient, job: Job, lines: PrefixedLines, tell: Tell, tail: int | None = None) -> None:
        self._client, self.job, self._lines, self._tell, self._tail = client, job, lines, tell, tail
        self.members: Sequence[Member] = ()
        self._pumps: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._told: dict[str, str] = {}
        self._progress = ""
        self._progress_told = self._begun = SYSTEM_CLOCK.monotonic()

    async def follow(self) -> Job:
        """The job when it was over. Raises JobDeleted, TransportError."""
        heard = SYSTEM_CLOCK.monotonic()
        try:
            while True:
                try:
                    await self.look()
                except TransportError:
                    if SYSTEM_CLOCK.monotonic() - heard > PATIENCE:
                        raise
                else:
                    heard = SYSTEM_CLOCK.monotonic()
                    self._say()
                    self._pump_new()
                    if self.job.end is not None:
                        break
                await SYSTEM_CLOCK.sleep(LOOK_AGAIN_AFTER)
            if self._pumps:
                await asyncio.wait(self._pumps.values(), timeout=LAST_WORDS_SECONDS)
        finally:
            for each in self._pumps.values():
                each.cancel()
        return self.job

    async def look(self) -> None:
        """Ask how the job and its pods are. Raises JobDeleted, TransportError."""
        job, query = self.job, {"labelSelector": self.job.kind.pods(self.job.name)}
        try:
            body = await self._client.request("GET", job.path)
        except NotFound:
            raise JobDeleted(f"{job.kind.name} {job.name} was deleted") from None
        if body["metadata"]["uid"] != job.body["metadata"]["uid"]:
            raise JobDeleted(f"{job.kind.name} {job.name} was deleted, and another one has its name")
        self.job = Job(job.kind, body)
        pods = await self._client.request("GET", f"/api/v1/namespaces/{job.namespace}/pods", query)
        self.members = members_of(job.kind, pods["items"])

    async def read(self) -> None:
        """Print what has been written until now, one process after the other."""
        for each in self.members:
            if each.has_begun:
                async for line in self._log(each, follow=False, tail=self._tail):
                    self._print(each, line)

    # --- what is said of the job ---

    def _say(self) -> None:
        if self.job.is_suspended and self.job.end is None:
            self._news("", f"● {SUSPENDED.lower()}: it goes on when it is resumed", SUSPENDED)
        for each in self.members:
            if each.phase in (SUCCEEDED, FAILED):
                sign = "✓" if each.phase == SUCCEEDED else "✗"
                code = f", exit code {each.exit_code}" if each.exit_code else ""
                self._news(each.uid, f"{sign} {each.name} {each.phase.lower()}{code}")
            elif each.has_begun:
                again = f" again (restart {each.restarts})" if each.restarts else ""
                self._news(each.uid, f"● {each.name} runs{again}")
            elif each.waits_for and SYSTEM_CLOCK.monotonic() - self._begun > QUIET_SECONDS:
                self._news(each.uid, f"· {each.name} waits: {each.waits_for}")
        self._say_progress()

    def _news(self, about: str, line: str, key: str = "") -> None:
        if self._told.get(about) != (key or line):
            self._told[about] = key or line
            self._tell(line)

    def _say_progress(self) -> None:
        now, told = SYSTEM_CLOCK.monotonic(), progress_line(self.job)
        ended = self.job.end is not None
        if told and told != self._progress and (ended or now - self._progress_told >= PROGRESS_SECONDS):
            self._progress, self._progress_told = told, now
            self._tell(told)

    # --- what its processes write ---

    def _pump_new(self) -> None:
        for each in self.members:
            key = (each.uid, each.restarts)
            if each.has_begun and key not in self._pumps:
                self._pumps[key] = asyncio.create_task(self._pump(each))

    async def _pump(self, member: Member) -> None:
        """One container's log, from its begin to its end, over torn connections."""
        printed = 0
        while True:
            try:
                async for line in self._log(member, follow=True, tail=None if printed else self._tail, skip=printed):
                    self._print(member, line)
                    printed += 1
            except TransportError:
                await SYSTEM_CLOCK.sleep(LOOK_AGAIN_AFTER)  # who asks for the job gives up in the end
            except NotFound:
                return  # the pod is gone
            except APIError as error:
                self._lines.line(member.name, f"(no more of its log: {error})".encode())
                return
            else:
                return

    async def _log(self, member: Member, *, follow: bool, tail: int | None, skip: int = 0) -> AsyncIterator[bytes]:
        log = self._client.logs(
            member.pod, self.job.namespace, container=member.container, follow=follow, tail_lines=tail
        )
        async with log as chunks:
            async for line in lines_of(chunks):
                if skip:
                    skip -= 1
                else:
                    yield line

    def _print(self, member: Member, line: bytes) -> None:
        rank, text = rank_of(line)
        self._lines.line(member.name if rank is None else f"rank {rank}", text)


def rank_of(line: bytes) -> tuple[int | None, bytes]:
    """The rank that a line is marked with, and what it says; None where it is not."""
    found = _RANK.match(line)
    return (None, line) if found is None else (int(found[1] or found[2]), line[found.end() :])


def progress_line(job: Job) -> str:
    """How far it is, as it tells itself; empty when it does not."""
    status = part(job.status, "trainerStatus")
    words = [job.progress(), *(f"{each['name']} {each['value']}" for each in status.get("metrics", ())[:4])]
    ranks: Sequence[Mapping[str, Any]] = job.status.get("ranks", ())
    words += [f"{each['stepsPerSecond']} steps/s" for each in ranks if each["rank"] == 0 and "stepsPerSecond" in each]
    if status.get("estimatedRemainingSeconds"):
        words.append(f"{status['estimatedRemainingSeconds']} s left")
    return f"  {'  '.join(filter(None, words))}" if any(words) else ""


def exit_code(job: Job, members: Sequence[Member]) -> int:
    """The job's exit code: 0, or that of the process that failed.

    Where several failed at the same time, it is the one that tells most: others fail because a first one did.
    """
    if job.state != FAILED:
        return 0
    failed = [each for each in members if each.exit_code and each.ended is not None]
    if not failed:
        return 1
    first = min(each.ended for each in failed if each.ended is not None)
    codes = [each.exit_code or 1 for each in failed if each.ended is not None and each.ended - first <= TOGETHER]
    return min(codes, key=lambda code: _FOLLOW_ON.index(code) + 1 if code in _FOLLOW_ON else 0)


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What comes in pieces, by line."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest
