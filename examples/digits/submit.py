"""Submit the digits pipeline by the official SDK, follow it, and show what it left behind.

The address is $KETCH_HOST, or http://localhost:8080. Exits with 1 unless the run succeeds.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

import kfp
from pipeline import digits

HOST = os.environ.get("KETCH_HOST", "http://localhost:8080").rstrip("/")
COLOURS = {"SUCCEEDED": "32", "FAILED": "31", "RUNNING": "36"}
SIGNS = {"SUCCEEDED": "✓", "FAILED": "✗", "RUNNING": "●", "PENDING": "·"}
ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")


def api(path: str) -> dict:
    """What the REST API answers; the SDK has no calls for what a run made."""
    with urllib.request.urlopen(f"{HOST}/apis/v2beta1/{path}", timeout=30) as answer:
        return json.load(answer)


def paint(text: str, colour: str) -> str:
    if not colour or not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    return f"\033[{colour}m{text}\033[0m"


def follow(client: kfp.Client, run_id: str):
    """Print each step's changes as they come, until the run has ended."""
    began, seen = time.monotonic(), {}
    while True:
        run = client.get_run(run_id)
        for task in steps(run):
            if seen.get(task.task_id) != task.state:
                seen[task.task_id] = task.state
                sign = paint(SIGNS.get(task.state, "-"), COLOURS.get(task.state, ""))
                print(
                    f"{time.monotonic() - began:6.1f} s  {sign} {task.display_name:<14} {task.state.lower()}",
                    flush=True,
                )
        if run.state in ENDED:
            return run
        time.sleep(0.2)


def steps(run) -> list:
    """The run's tasks without its root, in the order in which they began."""
    tasks = (run.run_details and run.run_details.task_details) or []
    return sorted((task for task in tasks if task.parent_task_id), key=lambda task: task.create_time)


def seconds(began, ended) -> str:
    return f"{(ended - began).total_seconds():.1f} s" if began and ended else "cached"


def show_steps(run) -> None:
    """The steps with their outcomes and times."""
    print(f"\n{'step':<14} {'state':<10} {'took':>7}   pod")
    for task in steps(run):
        state = paint(f"{task.state.lower():<10}", COLOURS.get(task.state, ""))
        print(f"{task.display_name:<14} {state} {seconds(task.start_time, task.end_time):>7}   {task.pod_name or '-'}")


def show_results(run_id: str) -> None:
    """What the last step measured, which model it kept, and where that is."""
    tasks = {task["name"]: task for task in api(f"runs/{run_id}/tasks?page_size=100")["tasks"]}
    outputs = tasks["choose"]["outputs"]
    winner = outputs["parameters"][0]["value"]
    made = {item["artifact_key"]: item["artifacts"][0] for item in outputs["artifacts"]}
    print("\nmetrics")
    for name, value in made["metrics"]["metadata"].items():
        best = paint("  ← the winner", "32") if name == f"{winner}_accuracy" else ""
        print(f"  {name:<16} {value:.4f}{best}")
    model = api(f"artifacts/{made['best']['artifact_id']}")
    about = model["metadata"]
    print(f"model  {model['name']} ({about['framework']}, {about['algorithm']}), {about['bytes']:,} bytes")
    print(f"  {model['uri']}")
    links = api(f"artifact_tasks?run_ids={run_id}&page_size=100")["artifact_tasks"]
    artifacts = {link["artifact_id"] for link in links}
    print(f"lineage  {len(artifacts)} artifacts, {len(links)} times read or written by {len(tasks) - 1} steps")


def main() -> int:
    try:
        api("healthz")
    except urllib.error.URLError as error:
        print(f"no platform answers at {HOST} ({error}): start one with 'ketch up', or set KETCH_HOST", file=sys.stderr)
        return 3
    client = kfp.Client(host=HOST)
    print(f"kfp {kfp.__version__} at {HOST}")
    run_id = client.create_run_from_pipeline_func(digits, arguments={"regularisation": 10.0}, run_name="digits").run_id
    print(f"run {run_id}")
    run = follow(client, run_id)
    show_steps(run)
    if run.state != "SUCCEEDED":
        reasons = [f"{task.display_name}: {task.error.message}" for task in steps(run) if task.error]
        print("\n".join([f"\nrun {run.state.lower()}", *reasons]), file=sys.stderr)
        return 1
    show_results(run_id)
    print(f"\n{paint('digits succeeded', '1;32')} in {seconds(run.created_at, run.finished_at)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
