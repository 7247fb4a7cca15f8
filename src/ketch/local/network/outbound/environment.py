"""The variables by which programs in pods find their way outside. Pure."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from ketch.local.network.addresses import CLUSTER_DOMAIN, POD_NETWORK, SERVICE_NETWORK
from ketch.local.network.outbound.destinations import HOST_ALIAS, Places
from ketch.local.network.wire import NetworkInfo

INDEX_VARIABLES = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
)
"""The host's settings that say where packages come from."""

HOST_SERVICES = "KETCH_HOST_SERVICES"
"""The host's setting that opens services on this machine, or beside it, to pods."""

_LOOPBACK = ("localhost", "127.0.0.1")

NOT_THROUGH_THE_PROXY = ",".join(
    ("localhost", "127.0.0.1", "::1", f".{CLUSTER_DOMAIN}", ".svc", str(POD_NETWORK), str(SERVICE_NETWORK))
)
_ADDRESS = re.compile(r"https?://[^\s,]+")
_OWN = re.compile(r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?=[:/]|$)")


def _urls(setting: str) -> list[str]:
    return _ADDRESS.findall(setting)


def _readable_by_pods(url: str) -> bool:
    return urlsplit(url).username is None


def package_settings(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The host's package indexes for programs in pods; one that stands on this machine is found by another name.

    A setting with credentials in it stays the host's.
    """
    return {
        name: _OWN.sub(f"http://{HOST_ALIAS}", value)
        for name in INDEX_VARIABLES
        if (value := environment.get(name)) and all(map(_readable_by_pods, _urls(value)))
    }


def declared_services(environment: Mapping[str, str]) -> Places:
    """The places that HOST_SERVICES opens to pods, ``host:port`` each; this machine's are found by HOST_ALIAS too."""
    places: set[tuple[str, int]] = set()
    for item in environment.get(HOST_SERVICES, "").replace(",", " ").split():
        parts = urlsplit(f"//{item}")
        if parts.hostname and parts.port:
            names = (*_LOOPBACK, HOST_ALIAS) if parts.hostname in _LOOPBACK else (parts.hostname,)
            places |= {(name, parts.port) for name in names}
    return frozenset(places)


def declared_indexes(environment: Mapping[str, str]) -> Places:
    """Where the host's package indexes are, as pods name them."""
    places: set[tuple[str, int]] = set()
    for value in package_settings(environment).values():
        for url in _urls(value):
            parts = urlsplit(url)
            if parts.hostname:
                places.add((parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)))
    return frozenset(places)


def pod_environment(info: NetworkInfo, environment: Mapping[str, str]) -> Mapping[str, str]:
    """What a pod on this network is given, where the host's own environment is ``environment``."""
    if info.proxy_url is None:
        return {}
    variables = {"http_proxy": info.proxy_url, "https_proxy": info.proxy_url, "no_proxy": NOT_THROUGH_THE_PROXY}
    both = {**variables, **{name.upper(): value for name, value in variables.items()}}
    return {**both, **package_settings(environment)}
