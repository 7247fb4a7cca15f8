"""The node agent's process: ``python -m ketch.local.node.main --data-dir D --kubeconfig K [--node-name N]``.

It may be killed at any time: containers go on, and the next agent adopts them. With ``--address`` it is a node of an
API server elsewhere: it answers there on the socket that it inherits, with TLS.
"""

import argparse
import asyncio
import platform
import signal
import socket
import ssl
import sys
from pathlib import Path

import uvloop

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.config import ClusterConfig, ConfigError, load_config
from ketch.kube.http import HTTPTransport
from ketch.kube.rest import RESTClient
from ketch.local.node.agent import Agent, network_info
from ketch.local.node.remote.joining import JoinError, Joining, api_place, parse_labels, parse_taints
from ketch.local.node.remote.relay import relay_api
from ketch.local.platform.process import inherited_sockets
from ketch.local.program import announce_ready, collect_rarely, log_to_stderr, take_short_turns

LOOK_AGAIN = 0.02
DOOR = "node"
"""The name of the inherited socket."""


async def _kubeconfig(path: Path) -> None:
    """Until the control plane has written it."""
    while not await asyncio.to_thread(path.exists):  # another process makes it, nobody tells
        await SYSTEM_CLOCK.sleep(LOOK_AGAIN)


def _joining(arguments: argparse.Namespace, config: ClusterConfig) -> Joining | None:
    """Raises JoinError, OSError."""
    if not arguments.address:
        return None
    from ketch.local.node.remote.certificates import serving_pair  # noqa: PLC0415  # deferred: 90 ms for few nodes

    authority = arguments.client_ca.read_text() if arguments.client_ca else config.authority
    if not authority:
        raise JoinError("the kubeconfig names no certificate authority: give the API server's clients' by --client-ca")
    pki = arguments.data_dir.absolute() / "pki"
    certificate, key = serving_pair(pki, arguments.node_name, arguments.address, SYSTEM_CLOCK)
    return Joining(
        address=arguments.address,
        listener=socket.socket(fileno=inherited_sockets()[DOOR]),
        certificate=certificate,
        key=key,
        client_authority=authority,
        labels=parse_labels(arguments.label),
        taints=parse_taints(arguments.taint),
    )


async def _run(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    data_dir, kubeconfig = arguments.data_dir.absolute(), arguments.kubeconfig
    info, _ = await asyncio.gather(network_info(data_dir, SYSTEM_CLOCK), _kubeconfig(kubeconfig))
    config = load_config(kubeconfig, arguments.context)
    joining = _joining(arguments, config)
    way = None if joining is None else await relay_api(data_dir / "run" / "api.sock", *api_place(config.server))
    client = RESTClient(HTTPTransport(config, SYSTEM_CLOCK))
    agent = Agent(client, SYSTEM_CLOCK, data_dir, arguments.node_name, info, config.server, joining)
    starting = asyncio.create_task(agent.start())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        announce_ready()
        collect_rarely()
        running = asyncio.create_task(agent.run())
        await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await agent.close()
    await client.close()
    if way is not None:
        way.close()


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--context", default="")
    parser.add_argument("--node-name", default=platform.node())
    parser.add_argument("--address", default="")
    parser.add_argument("--client-ca", type=Path)
    parser.add_argument("--label", action="append", default=[])
    parser.add_argument("--taint", action="append", default=[])
    arguments = parser.parse_args()
    log_to_stderr()
    take_short_turns()
    try:
        uvloop.run(_run(arguments))
    except (ConfigError, JoinError, ssl.SSLError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
