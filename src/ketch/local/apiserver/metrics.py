"""A few counts in Prometheus' text form."""

from collections import Counter

from ketch.local.apiserver.store.store import Store

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """``requests`` counts answers over HTTP by verb and code."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.requests: Counter[tuple[str, int]] = Counter()

    def text(self) -> str:
        """All counts."""
        store = self._store
        lines = ["# TYPE apiserver_request_total counter"]
        for (verb, code), count in sorted(self.requests.items()):
            lines.append(f'apiserver_request_total{{verb="{verb}",code="{code}"}} {count}')
        lines.append("# TYPE apiserver_watchers gauge")
        lines.append(f"apiserver_watchers {store.watcher_count}")
        lines.append("# TYPE apiserver_revision counter")
        lines.append(f"apiserver_revision {store.revision}")
        lines.append("# TYPE apiserver_storage_objects gauge")
        lines += [
            f'apiserver_storage_objects{{resource="{name.lstrip("/")}"}} {store.count(name)}'
            for name in sorted(store.resources())
        ]
        return "\n".join(lines) + "\n"
