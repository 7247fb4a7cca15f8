"""Many writes at once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def together(writes: Iterable[Awaitable[T]]) -> list[T]:
    """All of them at once. Raises the first error, after all have ended."""
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    done: list[T] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        done.append(outcome)
    return done


async def slow_start(count: int, make: Callable[[int], Awaitable[T]]) -> list[T]:
    """``make(0) .. make(count - 1)``: one, then two, then four at once, so that what cannot work fails but once.

    Raises the first error, after its batch has ended.
    """
    done: list[T] = []
    size = 1
    while len(done) < count:
        done += await together(make(index) for index in range(len(done), min(count, len(done) + size)))
        size *= 2
    return done
