"""A package at an address that a user names."""

from ketch.pipelines.sources.rules import Rules


class PackageFetcher:
    """Fetches packages under ``rules``."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    async def fetch(self, url: str) -> bytes:
        """The package's content. Raises InvalidInput, saying what is wrong with the address or its answer."""
        from ketch.pipelines.sources.fetching import Fetching  # noqa: PLC0415  # deferred: 70 ms and 7 MiB of every start

        return await Fetching(self._rules).fetch(url)
