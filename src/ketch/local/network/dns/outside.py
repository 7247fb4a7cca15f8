"""Names that are not the cluster's: the host's own resolver is asked."""

import asyncio
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from ketch.kube.clock import Clock
from ketch.local.network.dns.message import Answer, Code, QueryType

_THREADS = 8
_PATIENCE, _PAUSE_AFTER_FAILURE = 2.0, 5.0
_SECONDS = 30
_FAMILIES: Mapping[int, socket.AddressFamily] = {QueryType.A: socket.AF_INET, QueryType.AAAA: socket.AF_INET6}
_ABSENCES: Mapping[int | None, Code] = {socket.EAI_NONAME: Code.NAME_ERROR, socket.EAI_NODATA: Code.OK}
_FAILURE = Answer(Code.SERVER_FAILURE, authoritative=False)


class HostResolver:
    """Asks the host's resolver, in threads of its own; fails fast while that does not answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._executor = ThreadPoolExecutor(_THREADS, "resolver")
        self._silent_until = 0.0

    async def answer(self, name: str, kind: int) -> Answer:
        """What the host knows of ``name``."""
        family = _FAMILIES.get(kind)
        if family is None:
            return Answer(Code.NOT_IMPLEMENTED, authoritative=False)
        if self._clock.monotonic() < self._silent_until:
            return _FAILURE
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_PATIENCE):
                found = await loop.run_in_executor(
                    self._executor, lambda: socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)
                )
        except socket.gaierror as error:
            code = _ABSENCES.get(error.errno)
            return self._silent() if code is None else Answer(code, authoritative=False)
        except TimeoutError:
            return self._silent()
        except UnicodeError:
            return Answer(Code.NAME_ERROR, authoritative=False)
        addresses = tuple(dict.fromkeys(str(item[4][0]) for item in found))
        return Answer(Code.OK, addresses, _SECONDS, authoritative=False)

    def close(self) -> None:
        """Let go of the threads; questions still open are not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _silent(self) -> Answer:
        self._silent_until = self._clock.monotonic() + _PAUSE_AFTER_FAILURE
        return _FAILURE
