"""Uploads: every kind of file, and what is wrong with bad ones."""

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ketch.pipelines.sources.remote import PackageFetcher
from ketch.pipelines.sources.rules import Rules

SPEC = {
    "pipelineInfo": {"name": "p"},
    "schemaVersion": "2.1.0",
    "root": {"dag": {"tasks": {"t": {"componentRef": {"name": "c"}, "taskInfo": {"name": "t"}}}}},
    "components": {"c": {"executorLabel": "e"}},
    "deploymentSpec": {"executors": {"e": {"container": {"image": "busybox", "env": [{"name": "D", "value": "x"}]}}}},
}
TEXT = yaml.safe_dump(SPEC).encode()
PLATFORM = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {}}}}}


def a_zip(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def a_tar(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.replace("_", "."))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def upload(
    http: httpx.Client, content: bytes, name: str = "p.yaml", path: str = "upload", **query: str
) -> httpx.Response:
    return http.post(f"/pipelines/{path}", params=query, files={"uploadfile": (name, content)})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.yaml", TEXT),
        ("p.json", json.dumps(SPEC).encode()),
        ("p.zip", a_zip(readme_txt=b"no: pipeline", pipeline_yaml=TEXT)),
        ("p.tar.gz", a_tar(readme_txt=b"no: pipeline", pipeline_yaml=TEXT)),
        ("p.tgz", a_tar(only_yaml=TEXT)),
    ],
)
def test_files_that_hold_a_pipeline(http: httpx.Client, name: str, content: bytes):
    pipeline = upload(http, content, name, description="d", tags='{"a": "b"}').json()
    assert (pipeline["name"], pipeline["description"], pipeline["tags"]) == ("p", "d", {"a": "b"})
    versions = http.get(f"/pipelines/{pipeline['pipeline_id']}/versions").json()["pipeline_versions"]
    assert [(version["name"], version["pipeline_spec"]) for version in versions] == [("p", SPEC)]


def test_two_documents_are_kept_together(http: httpx.Client):
    pipeline = upload(http, TEXT + b"---\n" + yaml.safe_dump(PLATFORM).encode(), name="named").json()
    version = upload(http, TEXT, path="upload_version", name="bare", pipelineid=pipeline["pipeline_id"]).json()
    versions = http.get(f"/pipelines/{pipeline['pipeline_id']}/versions").json()["pipeline_versions"]
    assert versions[0]["pipeline_spec"] == {"pipeline_spec": SPEC, "platform_spec": PLATFORM}
    assert (versions[1], versions[1]["pipeline_spec"]) == (version, SPEC)


def test_dates_and_numbers_come_out_as_json_has_them(http: httpx.Client):
    text = TEXT + b"defaultPipelineRoot: 2026-01-31\n"
    pipeline = upload(http, text).json()
    version = http.get(f"/pipelines/{pipeline['pipeline_id']}/versions").json()["pipeline_versions"][0]
    assert version["pipeline_spec"]["defaultPipelineRoot"] == "2026-01-31"


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"a: [", "not valid YAML", id="no YAML"),
        pytest.param(b"\xff\xfe\x00", "not valid YAML", id="no text"),
        pytest.param(b"", "holds no specification", id="empty"),
        pytest.param(b"- 1", "holds no specification", id="a list"),
        pytest.param(b"a: 1", "schemaVersion", id="something else"),
        pytest.param(TEXT + b"---\n" + TEXT, "one specification", id="two pipelines"),
        pytest.param(b"kind: Workflow", "compile the pipeline with kfp 2", id="version 1"),
        pytest.param(b"PK\x03\x04broken", "archive cannot be read", id="broken zip"),
        pytest.param(b"\x1f\x8bbroken", "archive cannot be read", id="broken tar"),
        pytest.param(a_tar(), "holds no file", id="empty tar"),
        pytest.param(a_zip(), "", id="empty zip"),
        pytest.param(BOMB.encode(), "too large", id="aliases that multiply"),
        pytest.param(b"a: &a [*a]", "too deeply", id="an endless list"),
        pytest.param(b"a: .nan", "not a JSON value", id="not a number"),
        pytest.param(b"[" * 200_000, "too deeply", id="lists in lists without end"),
        pytest.param(b'{"a":' * 5_000, "", id="objects in objects without end"),
        pytest.param(b"".join(b" " * n + b"a:\n" for n in range(2_000)), "too deeply", id="blocks in blocks"),
        pytest.param(b"---\n- 1\n" * 20, "too many documents", id="documents without end"),
        pytest.param(a_tar(pipeline_yaml=b"\0" * (33 * 2**20)), "larger than 32 MiB", id="a bomb in a tar"),
        pytest.param(a_tar(big_bin=b"\0" * (300 * 2**20)), "larger than 32 MiB", id="a larger bomb in a tar"),
        pytest.param(
            a_tar(a_yaml=b"x", big_bin=b"\0" * (300 * 2**20)), "unpacks to more than 256 MiB", id="a bomb behind a file"
        ),
        pytest.param(a_zip(pipeline_yaml=b"\0" * (33 * 2**20)), "larger than 32 MiB", id="a bomb in a zip"),
        pytest.param(b"x: " + b"y" * 200_000 + b"\n\tz: [", "not valid YAML", id="long and broken"),
        pytest.param(b"a: &a [" + b"x, " * 60_000 + b"]\nb: &b [" + b"*a, " * 60 + b"]", "too large", id="aliases"),
    ],
)
def test_files_that_hold_none(http: httpx.Client, content: bytes, message: str):
    answer = upload(http, content)
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body.keys()) == (400, {"error_message", "error_details"})
    assert message in body["error_message"]


def test_a_long_file_is_read_without_holding_others_up(http: httpx.Client):
    steps = {f"c{number}": {"executorLabel": "e"} for number in range(6_000)}
    content = yaml.dump({**SPEC, "components": steps | SPEC["components"]}, Dumper=yaml.CSafeDumper).encode()
    assert len(content) > 128 * 1024
    pipeline = upload(http, content).json()
    (version,) = http.get(f"/pipelines/{pipeline['pipeline_id']}/versions").json()["pipeline_versions"]
    assert len(version["pipeline_spec"]["components"]) == 6_001


def test_forms_that_are_not_as_expected(http: httpx.Client):
    assert http.post("/pipelines/upload", json={}).status_code == 400
    assert http.post("/pipelines/upload", files={"other": ("p.yaml", TEXT)}).status_code == 400
    broken = {"content-type": "multipart/form-data"}
    assert http.post("/pipelines/upload", content=b"x", headers=broken).status_code == 400
    assert upload(http, TEXT, tags="[]").status_code == 400
    assert upload(http, TEXT, tags='{"a": 1}').status_code == 400
    assert upload(http, TEXT, path="upload_version").status_code == 400
    assert upload(http, TEXT, path="upload_version", pipelineid="none").status_code == 404
    assert upload(http, TEXT, name="x" * 129).status_code == 400
    assert upload(http, TEXT).status_code == 200
    assert upload(http, TEXT).status_code == 409


def test_a_file_that_is_too_large(http: httpx.Client):
    answer = upload(http, b"#" * (33 * 2**20))
    assert (answer.status_code, "larger than 32 MiB" in answer.json()["error_message"]) == (400, True)


def test_pipelines_and_versions_from_an_address(
    served_api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    root = tmp_path / "packages"
    root.mkdir()
    (root / "p.zip").write_bytes(a_zip(pipeline_yaml=TEXT))
    (root / "broken.yaml").write_text("a: [")
    monkeypatch.setattr(served_api, "packages", PackageFetcher(Rules(roots=(root,))))
    http = request.getfixturevalue("http")
    address = {"pipeline_url": f"file://{root}/p.zip"}
    both = {"pipeline": {"name": "p"}, "pipeline_version": {"package_url": address, "code_source_url": "https://c"}}
    pipeline_id = http.post("/pipelines/create", json=both).json()["pipeline_id"]
    versions = f"/pipelines/{pipeline_id}/versions"
    second = http.post(versions, json={"name": "v2", "package_url": address}).json()
    first, again = http.get(versions).json()["pipeline_versions"]
    assert (first["pipeline_spec"], first["package_url"], first["code_source_url"]) == (SPEC, address, "https://c")
    assert again == second
    for file, message in (("broken.yaml", "not valid YAML"), ("none.yaml", "is not a file"), ("../x", "not allowed")):
        body = {"name": "v3", "package_url": {"pipeline_url": f"file://{root}/{file}"}}
        answer = http.post(versions, json=body)
        assert (answer.status_code, message in answer.json()["message"]) == (400, True), answer.text
    assert http.get(versions).json()["total_size"] == 2
