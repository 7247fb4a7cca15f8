"""Names, as programs in pods look them up."""

import struct

from ketch.local.network.resolvconf import resolv_conf

LOOK_UP = """
import socket, struct, sys
query = bytes.fromhex("{query}")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(5)
    client.sendto(query, ("10.96.0.10", 53))
    answer = client.recv(4096)
answers = struct.unpack_from(">H", answer, 6)[0]
print(answer[3] & 15, ".".join(map(str, answer[-4:])) if answers else "none")
"""


def query(name: str) -> str:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return (struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)).hex()


async def test_pods_look_up_names_and_a_new_daemon_still_knows_them(isolated, pod):
    caller = await pod("caller")
    await isolated.client.set_names({"web.default.svc.cluster.local": ("10.96.1.2",)})
    known = LOOK_UP.format(query=query("web.default.svc.cluster.local"))
    unknown = LOOK_UP.format(query=query("web.other.svc.cluster.local"))
    assert caller.run(known) == "0 10.96.1.2"
    assert caller.run(unknown) == "3 none"
    isolated.kill()
    waiting = caller.start(known)
    isolated.start()
    assert waiting.communicate(timeout=30)[0].strip() == "0 10.96.1.2"
    await isolated.client.set_names({})
    assert caller.run(known) == "3 none"


def test_resolv_conf_is_as_kubelet_writes_it():
    assert resolv_conf("team").splitlines() == [
        "nameserver 10.96.0.10",
        "search team.svc.cluster.local svc.cluster.local cluster.local",
        "options ndots:5",
    ]
