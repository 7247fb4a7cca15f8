"""``ketch image``: what it prints and how it ends."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ociimages import BuiltImage, Entry, layer
from tests.registries import PASSWORD, USER, RunningRegistry, running_registry
from typer.testing import CliRunner, Result

from ketch.cli.main import application
from ketch.local.images.image import IMAGE_ID
from ketch.local.platform.directory import DataDirectory

BUILT = BuiltImage([layer(Entry("file", b"x" * 2000))])


class Ketch:
    """The command on a data directory of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def run(self, *words: str, stdin: bytes | str | None = None) -> Result:
        return CliRunner().invoke(application, ["image", *words, "--data-dir", str(self.data)], input=stdin)

    def out(self, *words: str, stdin: bytes | str | None = None) -> str:
        result = self.run(*words, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.out(*words, "-o", "json"))

    def refused(self, *words: str, code: int = 1, stdin: str | None = None) -> str:
        result = self.run(*words, stdin=stdin)
        assert result.exit_code == code, result.output
        return result.stderr

    def use(self, image_id: str) -> Path:
        """As if a container of the image were there."""
        record = self.data / "pods" / "uid" / "containers" / "main" / "0" / "spec.json"
        record.parent.mkdir(parents=True)
        record.write_text(json.dumps({"extra": {IMAGE_ID: image_id}}))
        return record


@pytest.fixture
def ketch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ketch:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return Ketch(tmp_path / "data")


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("private"), private=True) as running:
        yield running


def test_import_list_and_remove(ketch: Ketch, tmp_path: Path):
    saved = BUILT.write_saved(tmp_path / "saved.tar", "team/thing:1")
    assert ketch.out("import", str(saved)) == "imported docker.io/team/thing:1 (2.0 KiB)\n"
    assert ketch.out("import", "-", "--name", "other:2", "-o", "name", stdin=saved.read_bytes()) == (
        "docker.io/library/other:2\n"
    )
    rows = [line.split() for line in ketch.out("ls").splitlines()]
    assert [row[:2] for row in rows[1:]] == [
        ["docker.io/library/other:2", "imported"],
        ["docker.io/team/thing:1", "imported"],
    ]
    listed = ketch.json("ls")
    assert [(each["name"], each["size"], each["containers"]) for each in listed] == [
        ("docker.io/library/other:2", 2000, 0),
        ("docker.io/team/thing:1", 2000, 0),
    ]
    assert listed[0]["layers"] == list(BUILT.diff_ids)
    assert ketch.out("rm", "other:2") == "removed docker.io/library/other:2\n"
    assert 'there is no image "docker.io/library/other:2"' in ketch.refused("rm", "other:2")


def test_what_containers_use_stays(ketch: Ketch, tmp_path: Path):
    ketch.out("import", str(BUILT.write_layout(tmp_path / "layout", "a.example/b:1")))
    record = ketch.use(ketch.json("ls")[0]["id"])
    assert ketch.json("ls")[0]["containers"] == 1
    result = ketch.run("rm", "a.example/b:1", "no/such:1", "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, [])
    assert "is used by 1 container: delete their pods first" in result.stderr
    assert ketch.json("prune", "--all") == {"images": [], "environments": [], "layer_bytes": 0}
    assert ketch.out("rm", "--force", "a.example/b:1") == "removed a.example/b:1\n"
    assert "a.example/b@sha256:" in ketch.out("ls")
    record.unlink()
    assert ketch.out("prune", "--dry-run").startswith("would remove a.example/b@sha256:")
    assert ketch.out("prune").endswith("2.0 KiB of layers removed\n")
    assert ketch.json("ls") == []


def test_prune_takes_named_images_and_environments_when_asked(ketch: Ketch, tmp_path: Path):
    ketch.out("import", str(BUILT.write_layout(tmp_path / "layout", "a.example/b:1")))
    for name in ("a" * 64, "b" * 64, "etc"):
        (ketch.data / "environments" / name).mkdir(parents=True)
    ketch.use(f"sha256:{'a' * 64}")
    assert ketch.json("prune")["images"] == []
    gone = ketch.json("prune", "--all", "--environments")
    assert [each["name"] for each in gone["images"]] == ["a.example/b:1"]
    assert gone["environments"] == ["b" * 64]
    assert sorted(path.name for path in (ketch.data / "environments").iterdir()) == ["a" * 64, "etc"]


def test_map(ketch: Ketch):
    assert (
        ketch.out("map", "team/*", "--python", "3.11", "--requirement", "pandas")
        == "team/* means Python 3.11: pandas\n"
    )
    assert ketch.out("map", "team/base", "--system") == "team/base means this machine's system\n"
    assert json.loads((ketch.data / "images.json").read_text()) == [
        {"pattern": "team/base", "system": True},
        {"pattern": "team/*", "python": "3.11", "requirements": ["pandas"]},
    ]
    assert "team/base\nteam/*\n" in ketch.out("ls", "-o", "name")
    assert any(each["builtin"] for each in ketch.json("ls", "--all"))
    assert ketch.out("map", "team/*", "--remove") == "team/* is not mapped any more\n"
    assert "was not mapped" in ketch.refused("map", "team/*", "--remove")
    assert "say one of" in ketch.refused("map", "team/*", code=2)
    assert "say one of" in ketch.refused("map", "team/*", "--system", "--python", "3.11", code=2)
    (ketch.data / "images.json").write_text("{")
    assert "is not JSON" in ketch.refused("map", "team/*", "--system")
    assert "is not JSON" in ketch.refused("ls")


def test_pull(ketch: Ketch, private: RunningRegistry, tmp_path: Path):
    private.push("team/thing", "1", BUILT)
    name = f"{private.host}/team/thing:1"
    assert "ketch image pull --username" in ketch.refused("pull", name)
    assert ketch.out("pull", name, "--username", USER, "--password-stdin", stdin=PASSWORD + "\n").startswith(
        f"pulled {name} ("
    )
    logged_in = {"auths": {private.host: {"username": USER, "password": PASSWORD}}, "credsStore": "none"}
    (tmp_path / "auth.json").write_text(json.dumps(logged_in))
    [pulled] = ketch.json("pull", name, "--auth-file", str(tmp_path / "auth.json"))
    assert (pulled["origin"], pulled["digests"]) == ("pulled", [BUILT.digest])
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text(json.dumps(logged_in))
    assert ketch.out("pull", name, "-o", "name") == f"{name}\n"
    by_digest = f"{private.host}/team/thing@{BUILT.digest}"
    assert ketch.out("pull", by_digest, "-o", "name") == f"{by_digest}\n"
    assert "belong together" in ketch.refused("pull", name, "--username", USER, code=2)
    (tmp_path / "auth.json").write_text('{"auths": {"x": {"auth": "???"}}}')
    said = ketch.refused("pull", name, "--auth-file", str(tmp_path / "auth.json"), code=2)
    assert '"auth" of x is not base64' in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["import", "/no/such"], 2, 'there is no "/no/such"'),
        (["import", "/etc/passwd"], 1, "not an archive of images"),
        (["import", "/etc/passwd", "--name", "Bad Name"], 2, "is not the name of a repository"),
        (["import", "/etc/passwd", "--name", f"a@sha256:{'0' * 64}"], 2, "a digest is what an image has"),
        (["pull", "a:b:c"], 2, "is not a tag"),
        (["pull", "a@sha256:12"], 2, "is not a digest"),
        (["pull", "127.0.0.1:1/a/b"], 1, "cannot be reached"),
        (["rm", ":x"], 2, "is not the name"),
        (["ls", "-o", "yaml"], 2, "there are table, name, json"),
    ],
)
def test_errors_say_what_is_wrong(ketch: Ketch, words: list[str], code: int, said: str):
    assert said in ketch.refused(*words, code=code)


def test_a_platform_starts_on_a_directory_that_has_images_already(ketch: Ketch, tmp_path: Path):
    ketch.out("import", str(BUILT.write_saved(tmp_path / "s.tar", "a:1")))
    DataDirectory(ketch.data).prepare()
