"""Every feature of the SDK on a whole platform, each case with warm interpreters and without.

The cases are in the modules beside this one, a module a family; ``README.md`` says which feature is where. All cases of
a platform run at once, so that only the test that asks first takes its time.
"""

import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kfp
import pytest
from tests.e2e.pipelines.conformance import settings
from tests.e2e.pipelines.conformance.cases import Case
from tests.e2e.pipelines.conformance.driving import Driver, Suite
from tests.e2e.pipelines.conformance.families import CASES
from tests.e2e.platforms import Platform, start_platform

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning"), pytest.mark.timeout(400)]

MODES = {"cold": ["env", "KETCH_WARM=0"], "warm": []}
"""What stands before the command that starts the platform."""


@contextmanager
def _platform(prefix: list[str]) -> Iterator[Platform]:
    root = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))
    try:
        yield start_platform(root, lambda command: [*prefix, *command])
    finally:
        Platform(root, "", "").ketch("down")  # also one that did not come up
        subprocess.run(["rm", "-rf", str(root)], check=False)  # environments are many files: far quicker than shutil


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def suite(mode: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """The chosen cases of one mode, all of them on their way."""
    items = (item for item in request.session.items if item.path == request.node.path)
    params = [item.callspec.params for item in items if isinstance(item, pytest.Function)]
    chosen = [each["case"] for each in params if each["mode"] == mode]
    with _platform(MODES[mode]) as platform:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the client warns of servers older than KFP 2
            client = kfp.Client(host=platform.address)
        driver = Driver(platform, client, tmp_path_factory.mktemp(mode))
        settings.prepare(driver)
        suite = Suite(driver, chosen)
        yield suite
        suite.close()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(suite: Suite, case: Case):
    suite.result(case)
