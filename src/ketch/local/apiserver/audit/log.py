"""Audit events, written as they happen."""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import orjson

from ketch.kube.clock import Clock
from ketch.kube.codec import format_micro_time
from ketch.kube.errors import APIError
from ketch.local.apiserver.admission.asked import described
from ketch.local.apiserver.answers import (
    Answer,
    ConnectAnswer,
    ListAnswer,
    ObjectAnswer,
    RelayAnswer,
    StreamAnswer,
    WatchAnswer,
)
from ketch.local.apiserver.audit.policy import METADATA, NONE, REQUEST, RESPONSE, Decision, Policy
from ketch.local.apiserver.requests import Call, Target

RECEIVED, STARTED, COMPLETE = "RequestReceived", "ResponseStarted", "ResponseComplete"
LARGEST = 100 * 1024 * 1024
KEPT = 5
"""How many older files stay."""


class AuditLog:
    """Writes what ``policy`` wants to know to ``path``; a file that has grown large makes way for a new one."""

    def __init__(self, path: Path, policy: Policy, clock: Clock) -> None:
        self._path = path
        self._policy = policy
        self._clock = clock
        self._descriptor = -1
        self._size = 0

    def begin(self, call: Call, target: Target | None) -> "Entry | None":
        """An entry for a call; None when nobody wants to know of it."""
        verb = target.verb if target is not None else call.method.lower()
        decision = self._policy.decide(call.user, verb, call.path, target)
        if decision.level == NONE:
            return None
        entry = Entry(self, call, (verb, target), decision, self._now())
        entry.tell(RECEIVED, None)
        return entry

    def _now(self) -> str:
        return format_micro_time(self._clock.now())

    def write(self, event: dict[str, Any], stage: str) -> None:
        """Append one event. A log that cannot be written stops no one."""
        line = orjson.dumps({**event, "stage": stage, "stageTimestamp": self._now()}) + b"\n"
        try:
            if self._descriptor < 0:
                self._open()
            os.write(self._descriptor, line)
        except OSError:
            self.close()
            return
        self._size += len(line)
        if self._size > LARGEST:
            self._rotate()

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        self.close()
        for number in range(KEPT - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Entry:
    """One call in the log."""

    def __init__(
        self, log: AuditLog, call: Call, asked: tuple[str, Target | None], decision: Decision, now: str
    ) -> None:
        self._log = log
        self._decision = decision
        self._call = call
        verb, target = asked
        query = f"?{urlencode(call.query)}" if call.query else ""
        self._event: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": decision.level,
            "auditID": str(uuid.uuid4()),
            "requestURI": f"{call.path}{query}",
            "verb": verb,
            "user": described(call.user),
            "requestReceivedTimestamp": now,
        }
        if call.agent:
            self._event["userAgent"] = call.agent
        if target is not None:
            reference = {
                "resource": target.plural,
                "namespace": target.namespace,
                "name": target.name,
                "apiGroup": target.group,
                "apiVersion": target.version,
                "subresource": target.subresource,
            }
            self._event["objectRef"] = {name: text for name, text in reference.items() if text}

    def tell(self, stage: str, status: Mapping[str, Any] | None, answer: Any = None) -> None:
        """Write the call as it is at a stage."""
        if stage in self._decision.omitted:
            return
        event, level = dict(self._event), self._decision.level
        if status is not None:
            event["responseStatus"] = status
        if level in (REQUEST, RESPONSE) and self._call.body is not None and "objectRef" in event:
            event["requestObject"] = self._shown(self._call.body)
        if level == RESPONSE and answer is not None:
            event["responseObject"] = self._shown(answer)
        self._log.write(event, stage)

    def answered(self, answer: Answer) -> None:
        """The call was answered; a watch and a stream only begin with that."""
        code = answer.code if isinstance(answer, ObjectAnswer) else 200
        shown: Any = None
        if self._decision.level != METADATA and isinstance(answer, ObjectAnswer | ListAnswer):
            shown = answer.json()
        begins = isinstance(answer, WatchAnswer | StreamAnswer | ConnectAnswer | RelayAnswer)
        stage = STARTED if begins else COMPLETE
        self.tell(stage, {"metadata": {}, "code": code}, shown)

    def failed(self, error: APIError) -> None:
        """The call failed."""
        status: dict[str, Any] = {
            "metadata": {},
            "status": "Failure",
            "message": error.message,
            "reason": error.status_reason,
        }
        self.tell(COMPLETE, {**status, "code": error.http_code}, error.status_body())

    def _shown(self, value: Any) -> Any:
        if not self._decision.without_managers or not isinstance(value, dict) or "metadata" not in value:
            return cast("Any", value)
        found = cast("dict[str, Any]", value)
        meta = {name: item for name, item in found["metadata"].items() if name != "managedFields"}
        return {**found, "metadata": meta}
