"""What a running platform does without, because this machine does not permit it."""

from ketch.local.network.client import NetworkClient, NetworkError
from ketch.local.network.wire import SOCKET_NAME
from ketch.local.platform.directory import DataDirectory

PATIENCE = 1.0


async def degradation(directory: DataDirectory) -> str:
    """One sentence with what is lost and why; empty when nothing is, or while nobody can tell."""
    client = NetworkClient(directory.run / SOCKET_NAME, patience=PATIENCE)
    try:
        info = await client.info()
    except NetworkError:
        return ""
    return f"{info.reason}: see 'ketch doctor'" if info.mode == "host" else ""
