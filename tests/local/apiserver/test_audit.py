"""The audit log: what the policy wants to know is written, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from ketch.kube.errors import NotFound
from ketch.local.apiserver.audit.policy import PolicyError, read_policy
from ketch.local.apiserver.server import APIServer

MAPS = "/api/v1/namespaces/default/configmaps"
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  resources: [{group: "", resources: [secrets]}]
- level: RequestResponse
  verbs: [create, delete]
  namespaces: [default]
  resources: [{group: "", resources: [configmaps]}]
- level: None
  users: ["system:apiserver"]
  verbs: [list]
- level: Metadata
  nonResourceURLs: ["/version*"]
- level: Metadata
  resources: [{group: ""}]
"""


@pytest.fixture
def log(api: APIServer, tmp_path: Path) -> Any:
    policy, file = tmp_path / "policy.yaml", tmp_path / "audit.log"
    policy.write_text(POLICY)
    api.audit(policy, file)

    def events() -> list[dict[str, Any]]:
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    return events


async def test_what_is_asked_is_written(ask: Any, log: Any) -> None:
    await ask("POST", MAPS, {"metadata": {"name": "a"}, "data": {"x": "1"}}, query={"fieldManager": "me"})
    (event,) = log()
    assert (event["level"], event["stage"], event["verb"]) == ("RequestResponse", "ResponseComplete", "create")
    assert event["requestURI"] == f"{MAPS}?fieldManager=me"
    assert event["user"]["username"] == "system:apiserver"
    assert event["objectRef"] == {"resource": "configmaps", "namespace": "default", "apiVersion": "v1"}
    assert event["requestObject"]["data"] == {"x": "1"}
    assert event["responseObject"]["metadata"]["uid"]
    assert "managedFields" not in event["responseObject"]["metadata"]
    assert event["responseStatus"]["code"] == 201
    assert event["requestReceivedTimestamp"] <= event["stageTimestamp"]


async def test_rules_in_their_order(ask: Any, log: Any) -> None:
    await ask("POST", MAPS.replace("configmaps", "secrets"), {"metadata": {"name": "s"}})
    await ask("GET", MAPS)
    await ask("GET", "/version")
    await ask("GET", "/api")
    with pytest.raises(NotFound):
        await ask("GET", f"{MAPS}/none")
    version, missing = log()
    assert (version["requestURI"], version["level"]) == ("/version", "Metadata")
    assert "objectRef" not in version
    assert (missing["objectRef"]["name"], missing["responseStatus"]["code"]) == ("none", 404)
    assert missing["responseStatus"]["reason"] == "NotFound"
    assert "requestObject" not in missing


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("kind: Pod", "must be of kind Policy", id="another kind"),
        pytest.param("kind: Policy", "needs at least one rule", id="no rules"),
        pytest.param("{kind: Policy, rules: [{level: All}]}", r"rules\[0\].level: 'All' is none of", id="no level"),
        pytest.param("{", "cannot be read", id="no YAML"),
    ],
)
def test_a_policy_that_cannot_be_used(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(PolicyError, match=why):
        read_policy(tmp_path / "policy.yaml")
