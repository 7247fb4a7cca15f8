"""The client of the command line against real sockets: what answers, what does not, what is no platform."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ketch.cli.runs.api import APINotFound, APIRefused, APIUnreachable, PipelinesAPI


class Answers(BaseHTTPRequestHandler):
    """Answers by path; one connection carries several requests unless the path says otherwise."""

    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        name = path.rpartition("/")[2]
        if name == "pages":
            number = 1 if "page_token=t" in query else 0
            body: Any = {"items": [{"n": number}], **({} if number else {"next_page_token": "t"})}
            self.answer(200, body)
        elif name in ("missing", "refused", "down"):
            self.answer({"missing": 404, "refused": 400, "down": 503}[name], {"message": f"it is {name}"})
        elif name == "page":
            self.answer(200, None, b"<html>hello</html>")
        elif name == "log":
            self.answer(200, None, b"one\ntwo\n")
        else:
            self.answer(200, {"path": self.path})
        self.close_connection = name == "closing"

    def answer(self, status: int, body: Any, content: bytes | None = None) -> None:
        content = json.dumps(body).encode() if content is None else content
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def api() -> Iterator[PipelinesAPI]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with PipelinesAPI(f"http://127.0.0.1:{server.server_port}/prefix/") as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()


def test_calls_go_below_the_address_that_was_given(api: PipelinesAPI):
    assert api.call("GET", "/runs", {"filter": "a b"}) == {"path": "/prefix/apis/v2beta1/runs?filter=a+b"}


def test_pages_follow_each_other_until_the_last(api: PipelinesAPI):
    assert [item["n"] for item in api.pages("/pages", "items")] == [0, 1]


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("/missing", APINotFound, "it is missing"),
        ("/refused", APIRefused, "it is refused"),
        ("/down", APIUnreachable, "not ready .it is down.: see 'ketch status'"),
        ("/page", APIUnreachable, "is no platform: its answer is not JSON"),
    ],
)
def test_what_is_no_good_answer_is_told_apart(api: PipelinesAPI, path, error, words):
    with pytest.raises(error, match=words):
        api.call("GET", path)
    assert api.call("GET", "/runs")


def test_a_connection_that_was_closed_meanwhile_is_opened_again(api: PipelinesAPI):
    for _ in range(3):
        assert api.call("GET", "/closing")


def test_a_log_comes_in_chunks(api: PipelinesAPI):
    with api.log("r", "n", follow=False) as chunks:
        assert b"".join(chunks) == b"one\ntwo\n"


def test_where_nothing_listens_it_says_how_to_start():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(APIUnreachable, match=r"\(Connection refused\): start one with 'ketch up'"):
        PipelinesAPI(f"http://127.0.0.1:{port}").call("GET", "/runs")


@pytest.mark.parametrize("address", ["ftp://x", "http://", "http://localhost:port"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(APIUnreachable, match="is no address of a platform"):
        PipelinesAPI(address)
