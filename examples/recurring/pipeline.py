"""Watch over data that changes: is what comes in today still like what the model was trained on?"""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Output


@dsl.component
def take(rows: int, shift: float, sample: Output[Dataset]):
    """The newest measurements; `shift` is how far the world has moved since."""
    import csv
    import random
    import time

    source = random.Random(time.time_ns())
    with open(sample.path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["length", "weight"])
        for _ in range(rows):
            length = source.gauss(40 + shift, 4)
            writer.writerow([round(length, 2), round(2.5 * length + source.gauss(0, 6), 2)])
    sample.metadata["rows"] = rows


@dsl.component
def compare(sample: Input[Dataset], means: dict, tolerance: float, metrics: Output[Metrics]) -> bool:
    """How many standard errors each mean is away from what it was; whether one of them is too far."""
    import csv
    from statistics import mean, stdev

    with open(sample.path) as file:
        rows = list(csv.DictReader(file))
    drifted = False
    for name, expected in means.items():
        values = [float(row[name]) for row in rows]
        distance = abs(mean(values) - expected) / (stdev(values) / len(values) ** 0.5)
        metrics.log_metric(name, distance)
        drifted = drifted or distance > tolerance
    return drifted


@dsl.component
def warn(sample: Input[Dataset]):
    """Here somebody would be woken, or a training pipeline started."""
    print(f"the data has drifted: look at {sample.uri}")


@dsl.pipeline(name="recurring", description="Drift detection, to be run by the clock.")
def drift(rows: int = 500, shift: float = 0.0, means: dict = {"length": 40, "weight": 100}, tolerance: float = 5.0):
    """Take, compare, and warn if need be."""
    taken = take(rows=rows, shift=shift).set_caching_options(False)
    compared = compare(sample=taken.outputs["sample"], means=means, tolerance=tolerance)
    with dsl.If(compared.outputs["Output"] == True, name="drifted"):  # noqa: E712  # a condition of the pipeline's
        warn(sample=taken.outputs["sample"])
