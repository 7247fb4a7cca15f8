"""Certificates that a server signs itself."""

from datetime import timedelta

from ketch.kube.certificates import LIFETIME, ServingPair, self_signed
from ketch.kube.testing import VirtualClock


async def test_a_pair_serves_its_names_until_it_is_nearly_over() -> None:
    clock = VirtualClock()
    pair = self_signed("it", "tests", ("127.0.0.1", "it.example"), clock)
    assert pair.serves(("it.example", "127.0.0.1"), clock)
    assert not pair.serves(("other.example",), clock)
    await clock.advance((LIFETIME - timedelta(days=30)).total_seconds())
    assert not pair.serves(("it.example",), clock)


def test_what_is_no_certificate_serves_nobody() -> None:
    assert not ServingPair(b"none", b"none").serves((), VirtualClock())
