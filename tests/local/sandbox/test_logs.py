"""Logs: CRI's lines, whole, in order, rotated; whatever bytes come."""

import re

import pytest

from ketch.local.sandbox.logs import LONGEST_LINE, Log

LINE = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) ([FP]) (.*)", re.DOTALL)


def entries(path):
    """(stream, tag, text) of each entry."""
    found = [LINE.fullmatch(line) for line in path.read_bytes().split(b"\n")[:-1]]
    assert all(found)
    return [match.groups()[1:] for match in found if match]


@pytest.mark.parametrize(
    ("writes", "expected"),
    [
        pytest.param([b"a\nb\n"], [(b"F", b"a"), (b"F", b"b")], id="lines"),
        pytest.param([b"a", b"b\nc", b"\n"], [(b"F", b"ab"), (b"F", b"c")], id="lines in pieces"),
        pytest.param([b"a\n\n"], [(b"F", b"a"), (b"F", b"")], id="an empty line"),
        pytest.param([b"a\nrest"], [(b"F", b"a"), (b"F", b"rest")], id="no last newline"),
        pytest.param([b"\xff\x00\r\n"], [(b"F", b"\xff\x00\r")], id="bytes"),
        pytest.param(
            [b"x" * LONGEST_LINE + b"yz\n"], [(b"P", b"x" * LONGEST_LINE), (b"F", b"yz")], id="a line of two entries"
        ),
        pytest.param(
            [b"x" * LONGEST_LINE, b"yz", b"\n"], [(b"P", b"x" * LONGEST_LINE), (b"F", b"yz")], id="the same in pieces"
        ),
    ],
)
def test_what_is_said_is_kept(tmp_path, writes, expected):
    log = Log(str(tmp_path / "log"))
    for data in writes:
        log.write(b"stdout", data)
    log.close()
    assert entries(tmp_path / "log") == [(b"stdout", *entry) for entry in expected]


def test_streams_do_not_mix_within_a_line(tmp_path):
    log = Log(str(tmp_path / "log"))
    log.write(b"stdout", b"out")
    log.write(b"stderr", b"err\n")
    log.write(b"stdout", b"put\n")
    log.close()
    assert entries(tmp_path / "log") == [(b"stderr", b"F", b"err"), (b"stdout", b"F", b"output")]


def test_rotation_keeps_the_newest(tmp_path):
    log = Log(str(tmp_path / "log"), rotate_at=1000, kept=3)
    for number in range(100):
        log.write(b"stdout", b"line %d\n" % number)
    log.close()
    files = [tmp_path / name for name in ("log.2", "log.1", "log")]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(path.stat().st_size <= 1000 for path in files)
    kept = [text for path in files for _, _, text in entries(path)]
    assert kept == [b"line %d" % number for number in range(100 - len(kept), 100)]


async def test_a_container_writes_both_streams(sandboxes):
    container = await sandboxes.start("sh", "-c", "echo out; echo err >&2; printf end")
    await container.wait()
    assert sorted(entries(container.directory / "container.log")) == [
        (b"stderr", b"F", b"err"),
        (b"stdout", b"F", b"end"),
        (b"stdout", b"F", b"out"),
    ]


async def test_nothing_is_lost_of_much(sandboxes):
    container = await sandboxes.start("seq", "200000")
    await container.wait()
    assert [int(text) for _, _, text in entries(container.directory / "container.log")] == list(range(1, 200001))
