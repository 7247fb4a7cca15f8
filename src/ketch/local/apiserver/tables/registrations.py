"""What extends the API server and who is let in, as rows: certificates, other servers, flows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ketch.local.apiserver.absent import NO_ITEMS
from ketch.local.apiserver.tables.columns import AGE, NAME, NONE, Column, Obj, at, duration, field

Columns = Sequence[Column]


def _condition(obj: Obj, now: datetime) -> str:  # cells take a time
    kinds = [each.get("type") for each in at(obj, "status", "conditions", default=NO_ITEMS)]
    said = next((kind for kind in ("Denied", "Approved") if kind in kinds), "Pending")
    failed = ",Failed" if "Failed" in kinds else ""
    return f"{said}{failed}{',Issued' if at(obj, 'status', 'certificate') else ''}"


def _duration(obj: Obj, now: datetime) -> str:  # cells take a time
    seconds: Any = at(obj, "spec", "expirationSeconds")
    return duration(seconds) if seconds else NONE


SIGNING_REQUEST: Columns = (
    NAME,
    AGE,
    Column("SignerName", field("spec", "signerName", default=NONE)),
    Column("Requestor", field("spec", "username")),
    Column("RequestedDuration", _duration),
    Column("Condition", _condition),
)


def _service(obj: Obj, now: datetime) -> str:  # cells take a time
    service: Any = at(obj, "spec", "service")
    return f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"


def _available(obj: Obj, now: datetime) -> str:  # cells take a time
    for each in at(obj, "status", "conditions", default=NO_ITEMS):
        if each.get("type") == "Available":
            return "True" if each.get("status") == "True" else f"False ({each.get('reason', '')})"
    return "Unknown"


API_SERVICE: Columns = (NAME, Column("Service", _service), Column("Available", _available), AGE)
FLOW_SCHEMA: Columns = (
    NAME,
    Column("PriorityLevel", field("spec", "priorityLevelConfiguration", "name")),
    Column("MatchingPrecedence", field("spec", "matchingPrecedence"), "integer"),
    Column("DistinguisherMethod", field("spec", "distinguisherMethod", "type", default=NONE)),
    AGE,
)
PRIORITY_LEVEL: Columns = (
    NAME,
    Column("Type", field("spec", "type")),
    Column("NominalConcurrencyShares", field("spec", "limited", "nominalConcurrencyShares", default=NONE)),
    AGE,
)
