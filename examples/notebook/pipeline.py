"""A notebook as a step: the pipeline gives it parameters and data, and keeps what it executed."""

from pathlib import Path

from kfp import dsl
from kfp.dsl import Dataset, Input, Markdown, Output

HERE = Path(__file__).parent
PACKAGES = ["scikit-learn==1.7.2", "pandas==2.3.3"]


@dsl.component(packages_to_install=PACKAGES)
def load(table: Output[Dataset]):
    """scikit-learn's iris flowers."""
    from sklearn.datasets import load_iris

    load_iris(as_frame=True).frame.to_csv(table.path, index=False)


@dsl.notebook_component(
    notebook_path=str(HERE / "explore.ipynb"), packages_to_install=["nbclient==0.11.0", "ipykernel==7.4.0", *PACKAGES]
)
def explore(table: Input[Dataset], clusters: int, report: Output[Markdown]) -> float:
    """The notebook's cell tagged `parameters` has the defaults; these values take their place."""
    import json

    dsl.run_notebook(table_path=table.path, clusters=clusters, report_path=report.path, result_path="/tmp/result.json")
    with open("/tmp/result.json") as file:
        return json.load(file)["agreement"]


@dsl.pipeline(name="notebook", description="A notebook as a step.")
def notebook(clusters: int = 3) -> float:
    """Load, explore."""
    return explore(table=load().outputs["table"], clusters=clusters).outputs["Output"]
