"""Steps without Python: containers with a shell, awk and sort."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Output


@dsl.container_component
def generate(rows: int, readings: Output[Dataset]):
    """Temperatures of three sensors, as CSV."""
    return dsl.ContainerSpec(
        image="debian:stable",
        command=["sh", "-ec"],
        args=[
            """
            mkdir -p "$(dirname "$1")"
            awk -v rows="$0" 'BEGIN {
                srand(7); print "sensor,celsius"
                for (row = 0; row < rows; row++)
                    printf "%s,%.1f\\n", substr("abc", row % 3 + 1, 1), 20 + 5 * (row % 3) + 2 * rand()
            }' > "$1"
            """,
            rows,
            readings.path,
        ],
    )


@dsl.container_component
def average(readings: Input[Dataset], summary: Output[Dataset], hottest: dsl.OutputPath(str)):
    """The mean of each sensor, hottest first."""
    return dsl.ContainerSpec(
        image="debian:stable",
        command=["sh", "-ec"],
        args=[
            """
            mkdir -p "$(dirname "$1")" "$(dirname "$2")"
            awk -F, '
                NR > 1 { sum[$1] += $2; count[$1]++ }
                END { for (sensor in sum) printf "%s,%.2f\\n", sensor, sum[sensor] / count[sensor] }
            ' "$0" | sort -t, -k2 -nr | tee "$1"
            head -n 1 "$1" | cut -d, -f1 | tr -d '\\n' > "$2"
            """,
            readings.path,
            summary.path,
            hottest,
        ],
    )


@dsl.pipeline(name="shell", description="Containers with plain shell.")
def shell(rows: int = 300) -> str:
    """Generate, average."""
    return average(readings=generate(rows=rows).outputs["readings"]).outputs["hottest"]
