"""``python -m benchmarks [startup] [api] [pods] [pipelines] [growth]``: all of them when none is named."""

import sys

from benchmarks import api, growth, pipelines, pods, startup

BENCHMARKS = {
    "startup": startup.main,
    "api": api.main,
    "pods": pods.main,
    "pipelines": pipelines.main,
    "growth": growth.main,
}


def main() -> None:
    chosen = sys.argv[1:] or list(BENCHMARKS)
    if unknown := [name for name in chosen if name not in BENCHMARKS]:
        sys.exit(f"no benchmark {', '.join(unknown)}: there are {', '.join(BENCHMARKS)}")
    for name in chosen:
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
