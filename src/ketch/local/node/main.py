"""The node agent's process: ``python -m ketch.local.node.main --data-dir D --kubeconfig K [--node-name N]``.

It may be killed at any time: containers go on, and the next agent adopts them.
"""

import argparse
import asyncio
import platform
import signal
import sys
from pathlib import Path

import uvloop

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.config import ConfigError, load_config
from ketch.kube.http import HTTPTransport
from ketch.kube.rest import RESTClient
from ketch.local.node.agent import Agent, network_info
from ketch.local.program import announce_ready, collect_rarely, log_to_stderr, take_short_turns

LOOK_AGAIN = 0.02


async def _kubeconfig(path: Path) -> None:
    """Until the control plane has written it."""
    while not await asyncio.to_thread(path.exists):  # another process makes it, nobody tells
        await SYSTEM_CLOCK.sleep(LOOK_AGAIN)


async def _run(data_dir: Path, kubeconfig: Path, name: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    info, _ = await asyncio.gather(network_info(data_dir, SYSTEM_CLOCK), _kubeconfig(kubeconfig))
    config = load_config(kubeconfig)
    client = RESTClient(HTTPTransport(config, SYSTEM_CLOCK))
    agent = Agent(client, SYSTEM_CLOCK, data_dir, name, info, config.server)
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


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--node-name", default=platform.node())
    arguments = parser.parse_args()
    log_to_stderr()
    take_short_turns()
    try:
        uvloop.run(_run(arguments.data_dir.absolute(), arguments.kubeconfig, arguments.node_name))
    except ConfigError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
