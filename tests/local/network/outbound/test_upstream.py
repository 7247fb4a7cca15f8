"""The proxy that the host has to use."""

import pytest

from ketch.local.network.outbound.upstream import Upstream, upstreams

PROXY = Upstream("proxy.example", 3128)


@pytest.mark.parametrize(
    ("environment", "secure", "expected"),
    [
        pytest.param({}, True, None, id="none"),
        pytest.param({"https_proxy": "http://proxy.example:3128"}, True, PROXY, id="small letters"),
        pytest.param({"HTTPS_PROXY": "proxy.example:3128"}, True, PROXY, id="large letters, no scheme"),
        pytest.param({"https_proxy": "http://proxy.example:3128"}, False, None, id="for the other kind"),
        pytest.param({"all_proxy": "http://proxy.example:3128"}, False, PROXY, id="for all kinds"),
        pytest.param({"http_proxy": "socks5://proxy.example"}, False, None, id="a kind that is not spoken"),
        pytest.param(
            {"http_proxy": "https://me:p%40ss@proxy.example"},
            False,
            Upstream("proxy.example", 443, tls=True, authorization="Basic bWU6cEBzcw=="),
            id="with TLS and a password",
        ),
    ],
)
def test_environment(environment, secure, expected):
    assert upstreams(environment).towards("index.example", secure=secure) == expected


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("example.com", "example.com", True),
        ("example.com", "a.example.com", True),
        (".example.com", "a.example.com", True),
        ("example.com", "badexample.com", False),
        ("10.0.0.0/8, x", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("*", "anything", True),
        ("", "anything", False),
    ],
)
def test_exclusions(no_proxy, host, direct):
    found = upstreams({"https_proxy": "http://proxy.example:3128", "no_proxy": no_proxy})
    assert (found.towards(host, secure=True) is None) is direct
