"""kubectl in a namespace of each test's own."""

import pytest
from tests.e2e.kubernetes.kubectl.commands import Kubectl
from tests.e2e.platforms import Platform


@pytest.fixture
def kubectl(platform: Platform, namespace: str) -> Kubectl:
    """kubectl as a user of the namespace has it."""
    return Kubectl(platform, namespace)
