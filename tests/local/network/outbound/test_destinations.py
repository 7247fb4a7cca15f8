"""Where pods may connect to."""

import socket

import pytest

from ketch.local.network.outbound.destinations import Refused, reachable_addresses, refusal


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1%lo",
        "224.0.0.1", "255.255.255.255", "2002:7f00:1::", "10.244.3.4", "10.96.0.1",
    ],
)  # fmt: skip
def test_the_machine_and_its_neighbours_are_refused(address):
    assert refusal(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "192.168.77.5", "10.1.2.3", "2606:2800:220:1::1"])
def test_the_world_and_the_local_network_are_not(address):
    assert refusal(address) == ""


def test_the_machines_own_address_is_refused():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("93.184.216.34", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        assert "this machine" in refusal(probe.getsockname()[0])


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "app.localhost", "127.1", "2130706433", "0x7f.1", "web.default.svc.cluster.local"],
)
async def test_other_words_for_it_are_refused(host):
    with pytest.raises(Refused):
        await reachable_addresses(host, 80)
