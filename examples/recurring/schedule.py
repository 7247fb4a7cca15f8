"""Schedule the pipeline by the official SDK, wait for its first run, and stop the schedule again.

The address is $KETCH_HOST, or http://localhost:8080. Exits with 1 unless the run succeeds.
"""

import os
import sys
import tempfile
import time

import kfp
from pipeline import drift

HOST = os.environ.get("KETCH_HOST", "http://localhost:8080").rstrip("/")
PATIENCE = 120


def main() -> int:
    client = kfp.Client(host=HOST)
    with tempfile.NamedTemporaryFile(suffix=".yaml") as package:
        kfp.compiler.Compiler().compile(drift, package.name)
        schedule = client.create_recurring_run(
            experiment_id=client.create_experiment("watch").experiment_id,
            job_name="drift every second",
            interval_second=1,
            max_concurrency=1,
            no_catchup=True,
            params={"shift": 3.0},
            pipeline_package_path=package.name,
        )
    print(f"recurring run {schedule.recurring_run_id}: {schedule.display_name}, {schedule.status}")
    try:
        run = first_run(client, schedule.recurring_run_id)
    finally:
        client.disable_recurring_run(schedule.recurring_run_id)
    print(f"run {run.run_id} of {run.scheduled_at}")
    state = client.wait_for_run_completion(run.run_id, timeout=PATIENCE).state
    print(f"{run.display_name} {state.lower()}")
    return 0 if state == "SUCCEEDED" else 1


def first_run(client: kfp.Client, recurring_run_id: str):
    """Wait until the clock has started one."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        runs = client.list_runs(page_size=100, sort_by="created_at desc").runs or []
        for run in runs:
            if run.recurring_run_id == recurring_run_id:
                return run
        time.sleep(0.5)
    sys.exit("the schedule has started nothing")


if __name__ == "__main__":
    sys.exit(main())
