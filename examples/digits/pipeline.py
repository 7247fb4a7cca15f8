"""Train two classifiers of handwritten digits side by side, and keep the better one."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

SKLEARN = ["scikit-learn==1.7.2", "pandas==2.3.3"]


@dsl.component(packages_to_install=SKLEARN)
def load(test_share: float, train: Output[Dataset], test: Output[Dataset]) -> int:
    """Split scikit-learn's digits (1,797 images of 8 by 8 pixels) into two files; returns the number of images."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    frame = load_digits(as_frame=True).frame
    for part, artifact in zip(train_test_split(frame, test_size=test_share, random_state=7), (train, test)):
        part.to_csv(artifact.path, index=False)
        artifact.metadata["rows"] = len(part)
    return len(frame)


@dsl.component(packages_to_install=SKLEARN)
def train_linear(train: Input[Dataset], regularisation: float, model: Output[Model]):
    """Logistic regression."""
    import pickle

    import pandas
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame = pandas.read_csv(train.path)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, max_iter=1000))
    classifier.fit(frame.drop(columns="target"), frame["target"])
    with open(model.path, "wb") as file:
        pickle.dump(classifier, file)
    model.metadata["framework"] = "scikit-learn"
    model.metadata["algorithm"] = "logistic regression"


@dsl.component(packages_to_install=SKLEARN)
def train_forest(train: Input[Dataset], trees: int, model: Output[Model]):
    """Random forest."""
    import pickle

    import pandas
    from sklearn.ensemble import RandomForestClassifier

    frame = pandas.read_csv(train.path)
    classifier = RandomForestClassifier(n_estimators=trees, random_state=7)
    classifier.fit(frame.drop(columns="target"), frame["target"])
    with open(model.path, "wb") as file:
        pickle.dump(classifier, file)
    model.metadata["framework"] = "scikit-learn"
    model.metadata["algorithm"] = "random forest"


@dsl.component(packages_to_install=SKLEARN)
def choose(
    test: Input[Dataset], linear: Input[Model], forest: Input[Model], metrics: Output[Metrics], best: Output[Model]
) -> str:
    """Measure both on images that neither has seen; keep the more accurate."""
    import os
    import pickle
    import shutil

    import pandas

    frame = pandas.read_csv(test.path)
    pixels, digits = frame.drop(columns="target"), frame["target"]
    accuracy = {}
    for name, candidate in (("linear", linear), ("forest", forest)):
        with open(candidate.path, "rb") as file:
            accuracy[name] = float(pickle.load(file).score(pixels, digits))
        metrics.log_metric(f"{name}_accuracy", accuracy[name])
    winner = max(accuracy, key=accuracy.get)
    chosen = {"linear": linear, "forest": forest}[winner]
    shutil.copyfile(chosen.path, best.path)
    best.metadata.update(chosen.metadata)
    best.metadata["accuracy"] = accuracy[winner]
    best.metadata["bytes"] = os.path.getsize(best.path)
    return winner


@dsl.pipeline(
    name="digits", description="Two classifiers of handwritten digits, trained side by side; the better one is kept."
)
def digits(test_share: float = 0.25, regularisation: float = 1.0, trees: int = 200):
    """Load, train twice in parallel, choose."""
    data = load(test_share=test_share)
    linear = train_linear(train=data.outputs["train"], regularisation=regularisation)
    forest = train_forest(train=data.outputs["train"], trees=trees)
    choose(test=data.outputs["test"], linear=linear.outputs["model"], forest=forest.outputs["model"])
