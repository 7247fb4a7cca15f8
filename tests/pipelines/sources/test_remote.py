"""Packages by address: what is fetched, and what nobody gets at through this server."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.sources.fetching import MAX_REDIRECTS, public
from ketch.pipelines.sources.remote import PackageFetcher
from ketch.pipelines.sources.rules import Rules

PACKAGE = b"pipelineInfo: {name: p}\n"
LOCAL = Rules(domains=("127.0.0.1",), http=True)


async def _redirect(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"location": request.query["to"]})


async def _again(request: web.Request) -> web.Response:
    return web.Response(status=301, headers={"location": str(request.rel_url)})


async def _endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    try:
        while True:
            await answer.write(b"x" * 2**20)
    except ConnectionError:
        return answer


async def _package(request: web.Request) -> web.Response:
    assert not {"cookie", "authorization"} & {name.lower() for name in request.headers}
    return web.Response(body=PACKAGE, headers={"set-cookie": "a=b"})


@pytest.fixture
async def host() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/package.yaml", _package)
    app.router.add_get("/redirect", _redirect)
    app.router.add_get("/again", _again)
    app.router.add_get("/endless", _endless)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def refusal(url: str, rules: Rules = LOCAL) -> str:
    with pytest.raises(InvalidInput) as raised:
        await PackageFetcher(rules).fetch(url)
    assert raised.value.message.startswith("package_url.pipeline_url: ")
    return raised.value.message


async def test_a_package_and_one_that_has_moved(host: str):
    fetcher = PackageFetcher(LOCAL)
    assert await fetcher.fetch(f"{host}/package.yaml") == PACKAGE
    assert await fetcher.fetch(f"{host}/redirect?to=/redirect?to=/package.yaml") == PACKAGE


async def test_where_redirects_may_not_lead(host: str):
    assert "10.0.0.1" in await refusal(f"{host}/redirect?to=http://10.0.0.1/")
    assert "not by file" in await refusal(f"{host}/redirect?to=file:///etc/passwd")
    assert "not among the allowed" in await refusal(f"{host}/redirect?to=https://example.com/")
    assert f"more than {MAX_REDIRECTS} redirects" in await refusal(f"{host}/again")


async def test_answers_that_are_no_package(host: str):
    assert "answers 404" in await refusal(f"{host}/nothing")
    assert "larger than 32 MiB" in await refusal(f"{host}/endless")
    assert "cannot be read" in await refusal("http://127.0.0.1:1/package.yaml")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("http://example.com/p.yaml", "not by http", id="without TLS"),
        pytest.param("ftp://example.com/p.yaml", "not by ftp", id="another scheme"),
        pytest.param("p.yaml", "not by no scheme", id="no scheme"),
        pytest.param("https:///p.yaml", "expected https://<host>", id="no host"),
        pytest.param("https://user:secret@example.com/p.yaml", "without a user's name", id="a user"),
        pytest.param("https://example.com:port/p.yaml", "no address", id="no port"),
        pytest.param("https://[::1/p.yaml", "no address", id="half an address"),
        pytest.param("https://127.0.0.1/p.yaml", "not a public address", id="this machine"),
        pytest.param("https://[::1]/p.yaml", "not a public address", id="this machine by IPv6"),
        pytest.param("https://[::ffff:127.0.0.1]/p.yaml", "not a public address", id="this machine by IPv4 in IPv6"),
        pytest.param("https://169.254.169.254/latest", "not a public address", id="the cloud's metadata"),
        pytest.param("https://10.96.0.1/api", "not a public address", id="a cluster's address"),
        pytest.param("https://localhost/p.yaml", "no public address", id="a name of this machine"),
        pytest.param("https://2130706433/p.yaml", "not a public address", id="this machine as a number"),
        pytest.param("https://127.1/p.yaml", "not a public address", id="this machine in short"),
        pytest.param("https://0x7f.1/p.yaml", "no public address", id="this machine in hexadecimal"),
        pytest.param("https://\uff11\uff12\uff17.0.0.1/p.yaml", "not a public address", id="other digits"),
        pytest.param("https://\u2460\u2461\u2466.0.0.1/p.yaml", "not a public address", id="digits in circles"),
        pytest.param("https://127.0.0.1\\@example.com/", "no address", id="a backslash"),
        pytest.param("file:///etc/passwd", "file:// is not allowed", id="a file"),
    ],
)
async def test_what_is_refused_unless_told(url: str, message: str):
    assert message in await refusal(url, Rules())


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("192.168.1.1", False), ("172.16.0.1", False),
        ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("fe80::1%eth0", False), ("fd00::1", False),
        ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False), ("::", False), ("255.255.255.255", False),
    ],
)  # fmt: skip
def test_public_addresses(address: str, expected: bool):
    assert public(address) is expected


def test_domains():
    rules = Rules.of_environment({"PIPELINE_URL_ALLOWED_DOMAINS": "Git.example, *.org", "PIPELINE_URL_ALLOW_HTTP": "1"})
    assert rules == Rules(("git.example", "*.org"), True)
    hosts = ("git.example", "a.git.example", "a.org", "b.a.org", "org", "a.org.evil")
    assert [rules.allows(host) for host in hosts] == [True, False, True, True, False, False]
    assert [rules.trusts(host) for host in ("git.example", "a.org")] == [True, False]


async def test_files_below_the_roots_alone(tmp_path: Path):
    root, outside = tmp_path / "packages", tmp_path / "outside.yaml"
    root.mkdir()
    for path in (root / "a b.yaml", outside):
        path.write_bytes(PACKAGE)
    (root / "link.yaml").symlink_to(outside)
    os.mkfifo(root / "pipe")
    rules = replace(Rules(), roots=(root,))
    assert await PackageFetcher(rules).fetch(f"file://{root}/a%20b.yaml") == PACKAGE
    for path, message in (
        ("link.yaml", "not allowed there"),
        ("../outside.yaml", "not allowed there"),
        ("pipe", "is not a file"),
        ("", "is not a file"),
        ("none", "is not a file"),
        ("%00", "is no path"),
    ):
        assert message in await refusal(f"file://{root}/{path}", rules)
    assert "not allowed there" in await refusal(f"file://elsewhere{root}/a%20b.yaml", rules)
