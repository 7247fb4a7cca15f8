"""Submit the digits pipeline by the official SDK, wait for it, and show what it left behind."""

import os

import kfp
from pipeline import digits

HOST = os.environ.get("KETCH_HOST", "http://localhost:8080")


def main() -> None:
    client = kfp.Client(host=HOST)
    run = client.create_run_from_pipeline_func(digits, arguments={"trees": 200}, run_name="digits")
    outcome = client.wait_for_run_completion(run.run_id, timeout=600, sleep_duration=1)
    print(f"run {outcome.run_id} {outcome.state}")


if __name__ == "__main__":
    main()
