"""One platform for all end-to-end tests, and platforms of their own for those that break things."""

import hashlib
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kfp
import pytest
from tests.e2e.platforms import Platform, start_platform


@contextmanager
def _running() -> Iterator[Platform]:
    root = Path(tempfile.mkdtemp(prefix="ke-", dir="/tmp"))
    started = start_platform(root)
    yield started
    started.ketch("down")
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """The platform that tests share: each test uses names, or a namespace, of its own."""
    with _running() as started:
        yield started


@pytest.fixture
def own_platform() -> Iterator[Platform]:
    """A platform for one test that breaks things."""
    with _running() as started:
        yield started


@pytest.fixture
def namespace(platform: Platform, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for one test; tests of equal beginnings have different ones, as those that go take their time."""
    readable = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:41].strip("-")
    name = f"{readable}-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:8]}"
    platform.kubectl("create", "namespace", name)
    yield name
    platform.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def kfp_client(platform: Platform) -> kfp.Client:
    """The official client, told nothing but the one address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it warns of servers older than KFP 2
        return kfp.Client(host=platform.address)
