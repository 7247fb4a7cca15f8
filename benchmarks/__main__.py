"""``python -m benchmarks [NAME ...] [--scale SHARE]``: all of them when none is named.

``--scale 0.05`` measures with a twentieth of the steps, runs and rows: to see whether it works. ``--json FILE`` writes
what was printed, table by table.
"""

import argparse
import json
from pathlib import Path

from benchmarks import (
    api,
    controllers,
    gangs,
    growth,
    many_runs,
    objects,
    pipelines,
    pods,
    shapes,
    simulated,
    startup,
    tasks,
    training,
    watches,
)
from benchmarks.sizes import set_scale
from benchmarks.tables import RESULTS

BENCHMARKS = {
    "startup": startup.main,
    "api": api.main,
    "pods": pods.main,
    "pipelines": pipelines.main,
    "chain": shapes.chain,
    "fanout": shapes.fan_out,
    "tasks": tasks.main,
    "runs": many_runs.at_once,
    "list": many_runs.listed,
    "growth": growth.main,
    "objects": objects.main,
    "watches": watches.main,
    "nodes": simulated.main,
    "training": training.main,
    "gangs": gangs.main,
    "controllers": controllers.main,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full sizes (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the results as JSON")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {', '.join(unknown)}: there are {', '.join(BENCHMARKS)}")
    set_scale(arguments.scale)
    for name in arguments.names or BENCHMARKS:
        BENCHMARKS[name]()
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(RESULTS, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
