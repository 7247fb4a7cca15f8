"""Trainer's status endpoint: processes of a job tell here how far they are, by a token that is for this job alone."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ketch.kube.client import Client
from ketch.kube.codec import encode
from ketch.kube.errors import Forbidden, Invalid, NotFound, TooLarge
from ketch.kube.meta import KubeObject, ObjectKey
from ketch.kube.quantities import QuantityError, parse_quantity
from ketch.kube.types.pods import Pod
from ketch.training.progress.merging import reported
from ketch.training.progress.recorder import ProgressRecorder, Target
from ketch.training.progress.types import Report

LONGEST_BODY: Final = 1 << 16
_PATH: Final = re.compile(r"/apis/(?P<group>[^/]+)/(?P<version>[^/]+)/namespaces/([^/]+)/([^/]+)/([^/]+)/status")
_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_POD_NAME: Final = "authentication.kubernetes.io/pod-name"
_ACCOUNT: Final = "system:serviceaccount:"

RankOf = Callable[[Any, Pod], int | None]
"""The first rank of a job's pod, where that can be told."""


@dataclass(frozen=True, slots=True)
class Reporting:
    """A kind of job whose processes may report."""

    kind: type[KubeObject]
    rank_of: RankOf


@dataclass(frozen=True, slots=True)
class _Reporter:
    namespace: str
    pod: str


class StatusServer:
    """A door: POST to the status of a job of one of ``kinds``."""

    def __init__(self, client: Client, recorder: ProgressRecorder, kinds: Sequence[Reporting]) -> None:
        self._client, self._recorder = client, recorder
        self._kinds = {
            (each.kind.resource.group, each.kind.resource.version, each.kind.resource.plural): each for each in kinds
        }

    def opens(self, method: str, path: str) -> bool:
        """Whether the request is a report."""
        return method == "POST" and path.endswith("/status") and self._parsed(path) is not None

    async def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Any:
        """Record a report; the answer is what was understood. Raises Forbidden, Invalid, NotFound, TooLarge."""
        parsed = self._parsed(path)
        if parsed is None:
            raise NotFound("Not found")
        reporting, key = parsed
        reporter = await self._authenticated(headers.get("authorization", ""), path.removeprefix("/apis/"))
        if reporter is None or reporter.namespace != key.namespace:
            raise Forbidden("Forbidden: the token must be the one that the job's pods are given for this address")
        report = understood(body)
        if report.trainer_status is not None or report.rank is not None:
            rank = None if report.rank is not None else await self._rank(reporting, key, reporter.pod)
            await self._recorder.record(
                Target(reporting.kind, key), lambda progress: reported(progress, report, reporter.pod, rank)
            )
        return encode(report)

    def _parsed(self, path: str) -> tuple[Reporting, ObjectKey] | None:
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        group, version, namespace, plural, name = found.groups()
        reporting = self._kinds.get((group, version, plural))
        return None if reporting is None else (reporting, ObjectKey(namespace, name))

    async def _authenticated(self, authorization: str, audience: str) -> _Reporter | None:
        """Whose token it is; None when it is nobody's, or for another job."""
        scheme, _, token = authorization.partition(" ")
        if scheme != "Bearer" or not token:
            return None
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
        status = (await self._client.request("POST", _REVIEWS, body=review)).get("status", {})
        user: Mapping[str, Any] = status.get("user", {})
        name = str(user.get("username", ""))
        if not status.get("authenticated") or not name.startswith(_ACCOUNT):
            return None
        extra: Mapping[str, Sequence[str]] = user.get("extra") or {}
        pod = next(iter(extra.get(_POD_NAME, ())), "")
        return _Reporter(name.removeprefix(_ACCOUNT).partition(":")[0], pod)

    async def _rank(self, reporting: Reporting, key: ObjectKey, pod: str) -> int | None:
        """For clients that do not say it; they report seldom."""
        if not pod:
            return None
        try:
            job = await self._client.get(reporting.kind, key.name, key.namespace)
            return reporting.rank_of(job, await self._client.get(Pod, pod, key.namespace))
        except NotFound:
            return None


def understood(body: bytes) -> Report:
    """The report. Raises Invalid, TooLarge."""
    if len(body) > LONGEST_BODY:
        raise TooLarge(f"the report has {len(body)} bytes: at most {LONGEST_BODY} are read")
    try:
        report = msgspec.json.decode(body, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"Invalid payload: {error}") from error
    if report.trainer_status is not None and report.trainer_status.last_updated_time is None:
        raise Invalid("Invalid payload: lastUpdatedTime is required when trainerStatus is present")
    for quantity in (report.rank.cpu, report.rank.memory, report.rank.gpu_memory) if report.rank else ():
        _check_quantity(quantity)
    return report


def _check_quantity(text: str | None) -> None:
    try:
        if text is not None:
            parse_quantity(text)
    except QuantityError as error:
        raise Invalid(f"Invalid payload: {text}: {error}") from error
