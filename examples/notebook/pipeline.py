"""A notebook as a step: the pipeline gives it parameters and data, and keeps what it found."""

from pathlib import Path

from kfp import dsl
from kfp.dsl import Dataset, Input, Markdown, Output

NOTEBOOK = Path(__file__).parent / "explore.ipynb"


@dsl.component(packages_to_install=["scikit-learn==1.7.2", "pandas==2.3.3"])
def load(table: Output[Dataset]):
    """scikit-learn's iris flowers."""
    from sklearn.datasets import load_iris

    load_iris(as_frame=True).frame.to_csv(table.path, index=False)


@dsl.notebook_component(
    notebook_path=str(NOTEBOOK), packages_to_install=["nbclient==0.11.0", "ipykernel==7.4.0", "pandas==2.3.3"]
)
def explore(table: Input[Dataset], classes: int, report: Output[Markdown]) -> float:
    """The notebook's cell tagged `parameters` has the defaults; these values take their place."""
    import json

    result = "/tmp/result.json"
    dsl.run_notebook(table_path=table.path, classes=classes, report_path=report.path, result_path=result)
    with open(result) as file:
        return json.load(file)["accuracy"]


@dsl.pipeline(name="notebook", description="A notebook as a step.")
def notebook(classes: int = 6) -> float:
    """Load, explore."""
    return explore(table=load().outputs["table"], classes=classes).outputs["Output"]
