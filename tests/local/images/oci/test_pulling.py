"""Pulls from a real registry (Debian's docker-registry) and from one that fails as it is told to."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.ociimages import GZIP, OCI, BuiltImage, Entry, layer
from tests.registries import PASSWORD, USER, RunningRegistry, running_registry

from ketch.local.images.oci import registry as registry_module
from ketch.local.images.oci.credentials import Credentials, parse_config
from ketch.local.images.oci.errors import DigestMismatch, NotFound, PlatformMissing, RegistryError, Unauthorized
from ketch.local.images.oci.pulling import pull
from ketch.local.images.oci.references import ImageName
from ketch.local.images.oci.settings import Registry, read_settings
from ketch.local.images.oci.store import Store

SHARED = layer(Entry("shared", b"below both" * 1000))


def image(text: bytes = b"one", **settings: Any) -> BuiltImage:
    return BuiltImage([SHARED, layer(Entry("file", text))], **settings)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("private"), private=True) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "images")


def content(store: Store, name: str) -> str:
    found = store.find(ImageName.parse(name))
    assert found is not None
    return store.tree(found).read("/file")


@pytest.mark.parametrize("media_type", [GZIP, f"{OCI}.layer.v1.tar+zstd", f"{OCI}.layer.v1.tar"])
def test_by_tag_and_by_digest(registry: RunningRegistry, store: Store, media_type: str):
    kind = media_type.rpartition(".")[2].replace("+", "-")
    digest = registry.push("team/thing", kind, image(media_type=media_type))
    name = f"{registry.host}/team/thing:{kind}"
    pulled = pull(store, ImageName.parse(name))
    assert pulled.id == f"{registry.host}/team/thing@{digest}"
    assert content(store, name) == "one"
    by_digest = ImageName.parse(f"{registry.host}/team/thing@{digest}")
    assert store.find(by_digest) == pulled
    assert pull(store, by_digest).digests == pulled.digests
    assert not list((store.root / "work").iterdir())


def test_of_an_index_the_image_for_this_machine(registry: RunningRegistry, store: Store):
    here, other = image(b"here"), image(b"other", architecture="s390x")
    registry.push("team/many", "other", other)
    platforms = [(other, "s390x"), (here, here.architecture)]
    manifests = [{**each.descriptor, "platform": {"os": "linux", "architecture": name}} for each, name in platforms]
    index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": manifests}
    digest = registry.push("team/many", "all", here, index)
    name = f"{registry.host}/team/many"
    assert pull(store, ImageName.parse(f"{name}:all")).digests == (digest, here.digest)
    assert content(store, f"{name}:all") == "here"
    assert store.find(ImageName.parse(f"{name}@{digest}")) == store.find(ImageName.parse(f"{name}@{here.digest}"))
    with pytest.raises(PlatformMissing, match="is made for linux/s390x, this machine is linux/"):
        pull(store, ImageName.parse(f"{name}:other"))


def test_layers_are_fetched_once_for_all_images(registry: RunningRegistry, store: Store):
    first, second = image(b"1"), image(b"2")
    for tag, each in (("first", first), ("second", second)):
        registry.push("team/shared", tag, each)
        pull(store, ImageName.parse(f"{registry.host}/team/shared:{tag}"))
    fetched = first.blobs[next(iter(first.blobs))]
    assert fetched
    assert len(list((store.root / "layers").iterdir())) == 3
    shared = json.loads(first.manifest)["layers"][0]["digest"]
    lines = [line for line in registry.asked().splitlines() if "GET /v2/team/shared/blobs" in line and shared in line]
    assert len([line for line in lines if '" 200 ' in line]) == 1


def test_a_tag_that_moved_is_pulled_anew(registry: RunningRegistry, store: Store):
    name = f"{registry.host}/team/moving:latest"
    for text in (b"before", b"after"):
        registry.push("team/moving", "latest", image(text))
        pull(store, ImageName.parse(name))
        assert content(store, name) == text.decode()


def test_what_the_registry_lacks_is_named(registry: RunningRegistry, store: Store):
    with pytest.raises(NotFound, match=r'has no such image.*check repository "no/such" and tag "9"'):
        pull(store, ImageName.parse(f"{registry.host}/no/such:9"))
    with pytest.raises(RegistryError, match="cannot be reached"):
        pull(store, ImageName.parse("127.0.0.1:1/no/registry"))


def test_a_private_registry_wants_the_right_word(private: RunningRegistry, store: Store):
    private.push("team/secret", "1", image())
    name = ImageName.parse(f"{private.host}/team/secret:1")
    wrong = Credentials(private.host, USER, "wrong")
    with pytest.raises(Unauthorized, match="imagePullSecrets"):
        pull(store, name)
    with pytest.raises(Unauthorized, match='refuses user "alice"'):
        pull(store, name, [wrong])
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    right = parse_config(json.dumps({"auths": {f"http://{private.host}/v2/": {"auth": auth}}}))
    assert pull(store, name, [wrong, *right]).name == str(name)
    elsewhere = [Credentials("registry.example", USER, PASSWORD), Credentials(f"{private.host}/other", USER, PASSWORD)]
    with pytest.raises(Unauthorized):
        pull(store, name, elsewhere)


def test_mirrors_are_asked_first_and_need_not_have_everything(
    registry: RunningRegistry, private: RunningRegistry, store: Store, tmp_path: Path
):
    registry.push("team/mirrored", "1", image(b"mirrored"))
    private.push("team/only-there", "1", image(b"original"))
    settings = {private.host: Registry(mirrors=[registry.url])}
    for name, text in (("team/mirrored:1", "mirrored"), ("team/only-there:1", "original")):
        pull(store, ImageName.parse(f"{private.host}/{name}"), [Credentials(private.host, USER, PASSWORD)], settings)
        assert content(store, f"{private.host}/{name}") == text
    (tmp_path / "registries.json").write_text('{"docker.io": {"mirrors": ["nowhere"]}}')
    with pytest.raises(RegistryError, match=r'registries\.json cannot be used: "nowhere" is not a URL'):
        read_settings(tmp_path)


class _Moody(BaseHTTPRequestHandler):
    """A registry with tokens that hangs up in the middle of layers, and says 500 now and then."""

    built = image(b"x" * 300_000)
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Any = self.server
        server.seen.append((self.path, self.headers.get("Range", ""), self.headers.get("Authorization", "")))
        if self.path.startswith("/token"):
            basic = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
            return self.answer(200 if self.headers.get("Authorization") == basic else 401, b'{"token": "t0ken"}')
        if self.headers.get("Authorization") != "Bearer t0ken":
            realm = f'Bearer realm="http://{self.headers["Host"]}/token",service="s",scope="repository:a/b:pull"'
            return self.answer(401, b"{}", **{"WWW-Authenticate": realm})
        if server.failures:
            server.failures -= 1
            return self.answer(503, b"")
        if self.path.startswith("/v2/a/b/manifests/"):
            return self.answer(200, self.built.manifest, **{"Docker-Content-Digest": self.built.digest})
        data = self.built.blobs[self.path.rpartition("/")[2]]
        begin = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        return self.answer(206 if begin else 200, server.alter(data[begin:]), cut=server.cut)

    def answer(self, status: int, data: bytes, cut: int = 0, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if cut and len(data) > cut:
            self.wfile.write(data[:cut])
            self.close_connection = True
            return
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def moody(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(registry_module, "FIRST_PAUSE", 0.01)
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Moody)
    server.seen, server.failures, server.cut, server.alter = [], 0, 0, lambda data: data
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def moody_pull(server: Any, store: Store) -> str:
    host = f"127.0.0.1:{server.server_address[1]}"
    pull(store, ImageName.parse(f"{host}/a/b:1"), [Credentials(host, USER, PASSWORD)])
    return content(store, f"{host}/a/b:1")


def test_tokens_failures_and_layers_that_break_off(moody: Any, store: Store):
    moody.failures, moody.cut = 2, 280
    assert moody_pull(moody, store) == "x" * 300_000
    ranges = [header for path, header, _ in moody.seen if "/blobs/" in path and header]
    assert "bytes=280-" in ranges
    assert "bytes=560-" in ranges
    assert len([path for path, _, _ in moody.seen if path.startswith("/token")]) == 1


def test_what_is_not_what_its_digest_says_is_not_kept(moody: Any, store: Store):
    moody.alter = lambda data: data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(DigestMismatch, match="is not what its digest says"):
        moody_pull(moody, store)
    assert store.images() == {}
    assert list((store.root / "layers").iterdir()) == [] if (store.root / "layers").exists() else True


def test_a_registry_that_goes_on_failing_is_given_up(moody: Any, store: Store):
    moody.failures = 1000
    with pytest.raises(RegistryError, match="HTTP 503"):
        moody_pull(moody, store)
