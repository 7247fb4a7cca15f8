"""Names as registries read them, whose word counts where, users by an image's own files, and where registries are."""

import base64
import json

import pytest

from ketch.local.images.oci.credentials import Credentials, CredentialsInvalid, matching, parse_config
from ketch.local.images.oci.references import ImageName, NameInvalid
from ketch.local.images.oci.registry import challenge
from ketch.local.images.oci.settings import Registry, endpoints, is_loopback
from ketch.local.images.oci.users import User, UserUnknown, find_user
from ketch.local.images.stored import signal_number, variables

DIGEST = f"sha256:{'ab' * 32}"


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("team/app", "docker.io/team/app:latest"),
        ("index.docker.io/app:1", "docker.io/library/app:1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("[::1]:5000/a/b:c", "[::1]:5000/a/b:c"),
        ("gcr.io/a/b_c/d--e:V.1_x-y", "gcr.io/a/b_c/d--e:V.1_x-y"),
        (f"a/b@{DIGEST}", f"docker.io/a/b@{DIGEST}"),
        (f"a/b:1@{DIGEST}", f"docker.io/a/b:1@{DIGEST}"),
    ],
)
def test_names(text: str, full: str):
    name = ImageName.parse(text)
    assert str(name) == full
    assert ImageName.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    ["", ":1", "a:", "a b", "A", "a/B", "a//b", "a/", "/a", "a:b:c", "a@", "a@sha256:1", "a..b", "-a", "a.b/../c", "é"],
)
def test_what_names_nothing(text: str):
    with pytest.raises(NameInvalid):
        ImageName.parse(text)


def config(**places: object) -> str:
    return json.dumps({"auths": places})


def test_credentials():
    auth = base64.b64encode(b"me:pass:word").decode()
    data = config(
        **{"https://index.docker.io/v1/": {"auth": auth}, "*.example.com/team": {"username": "you", "password": "x"}}
    )
    known = parse_config(data)
    assert known == (
        Credentials("docker.io", "me", "pass:word"),
        Credentials("*.example.com/team", "you", "x"),
    )
    assert matching(ImageName.parse("busybox"), known) == [known[0]]
    assert matching(ImageName.parse("r.example.com/team/app"), known) == [known[1]]
    for other in (
        "r.example.com/teams/app",
        "r.s.example.com/team/app",
        "example.com/team/app",
        "r.example.com:5/team/a",
    ):
        assert matching(ImageName.parse(other), known) == []
    longer = (Credentials("h.io"), Credentials("h.io/a/b"), Credentials("h.io/a"))
    assert [each.place for each in matching(ImageName.parse("h.io/a/b/c"), longer)] == ["h.io/a/b", "h.io/a", "h.io"]
    assert parse_config(json.dumps({"h.io": {"identitytoken": "t"}})) == (Credentials("h.io", identity_token="t"),)


@pytest.mark.parametrize(
    "data", ["", "[]", '{"auths": 1}', '{"auths": {"h": {"auth": "!"}}}', '{"h": {"username": 1}}']
)
def test_credentials_that_cannot_be_read_are_not_told(data: str):
    with pytest.raises(CredentialsInvalid):
        parse_config(data)


PASSWD = "root:x:0:0:r:/root:/bin/sh\n# no:x:1:1::/:\napp:x:10:20:a:/home/app:/bin/sh\nbroken\n12:x:99:98::/odd:\n"
GROUP = "root:x:0:\nstaff:x:50:app\n"


@pytest.mark.parametrize(
    ("word", "user"),
    [
        ("", User(0, 0, "/root")),
        ("app", User(10, 20, "/home/app")),
        ("10", User(10, 20, "/home/app")),
        ("app:staff", User(10, 50, "/home/app")),
        ("app:7", User(10, 7, "/home/app")),
        ("4321", User(4321, 0, "/")),
        ("4321:5", User(4321, 5, "/")),
        ("12", User(99, 98, "/odd")),
    ],
)
def test_users(word: str, user: User):
    assert find_user(word, PASSWD, GROUP) == user


@pytest.mark.parametrize("word", ["nobody", "app:nobody", "no", "99999999999", "-1"])
def test_users_that_nobody_knows(word: str):
    with pytest.raises(UserUnknown):
        find_user(word, PASSWD, GROUP)
    assert find_user("", "", "") == User(0, 0, "/")


def test_endpoints():
    settings = {"docker.io": Registry(mirrors=["http://m.example/"]), "r.example": Registry(insecure=True)}
    assert [each.url for each in endpoints("docker.io", settings)] == [
        "http://m.example",
        "https://registry-1.docker.io",
    ]
    assert [each.url for each in endpoints("r.example", settings)] == ["https://r.example", "http://r.example"]
    assert [each.url for each in endpoints("s.example", settings)] == ["https://s.example"]
    assert [each.url for each in endpoints("127.0.0.1:5", {})] == ["https://127.0.0.1:5", "http://127.0.0.1:5"]
    assert is_loopback("localhost:5000")
    assert is_loopback("[::1]:5000")
    assert not is_loopback("127.0.0.1.example")
    assert not is_loopback("10.0.0.1")


def test_small_texts():
    bearer = 'Bearer realm="https://a.example/t?x=\\"1\\"",service="s p",scope=repository:a/b:pull'
    assert challenge(bearer) == (
        "bearer",
        {"realm": 'https://a.example/t?x=\\"1\\"', "service": "s p", "scope": "repository:a/b:pull"},
    )
    assert challenge('Basic realm="x"') == ("basic", {"realm": "x"})
    assert variables(["A=b=c", "D", "=e", "F="]) == {"A": "b=c", "D": "", "F": ""}
    assert [signal_number(text) for text in ("SIGQUIT", "quit", "3", "SIGRTMIN+3", "", "SIGNOPE", "999")] == [
        3,
        3,
        3,
        37,
        None,
        None,
        None,
    ]
