"""``python -m benchmarks [NAME ...] [--scale SHARE]``: all of them when none is named.

``--scale 0.05`` measures with a twentieth of the steps, runs and rows: to see whether it works.
"""

import argparse

from benchmarks import api, controllers, gangs, growth, many_runs, pipelines, pods, shapes, startup, tasks, training
from benchmarks.sizes import set_scale

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
    "training": training.main,
    "gangs": gangs.main,
    "controllers": controllers.main,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full sizes (default: 1)")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {', '.join(unknown)}: there are {', '.join(BENCHMARKS)}")
    set_scale(arguments.scale)
    for name in arguments.names or BENCHMARKS:
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
