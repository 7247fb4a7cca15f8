"""Try a grid of settings in parallel, collect what each achieved, keep the best."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

SKLEARN = ["scikit-learn==1.7.2", "pandas==2.3.3"]


@dsl.component(packages_to_install=SKLEARN)
def load(train: Output[Dataset], test: Output[Dataset]):
    """scikit-learn's breast cancer measurements (569 patients, 30 features)."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    frame = load_breast_cancer(as_frame=True).frame
    for part, artifact in zip(train_test_split(frame, test_size=0.3, random_state=7), (train, test)):
        part.to_csv(artifact.path, index=False)


@dsl.component
def grid(learning_rates: list, depths: list) -> list:
    """Every combination."""
    from itertools import product

    return [{"learning_rate": rate, "max_depth": depth} for rate, depth in product(learning_rates, depths)]


@dsl.component(packages_to_install=SKLEARN)
def fit(train: Input[Dataset], settings: dict, model: Output[Model]) -> float:
    """Boosted trees with these settings; returns their cross-validated accuracy."""
    import pickle

    import pandas
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.model_selection import cross_val_score

    frame = pandas.read_csv(train.path)
    features, target = frame.drop(columns="target"), frame["target"]
    settings["max_depth"] = int(settings["max_depth"])
    classifier = GradientBoostingClassifier(n_estimators=30, random_state=7, **settings)
    score = float(cross_val_score(classifier, features, target, cv=3).mean())
    with open(model.path, "wb") as file:
        pickle.dump(classifier.fit(features, target), file)
    model.metadata.update(settings, score=score)
    return score


@dsl.component(packages_to_install=SKLEARN)
def select(
    scores: list, models: Input[list[Model]], test: Input[Dataset], metrics: Output[Metrics], best: Output[Model]
) -> dict:
    """The model with the best score, measured on patients that no model has seen; returns its settings."""
    import pickle
    import shutil

    import pandas

    chosen = models[scores.index(max(scores))]
    frame = pandas.read_csv(test.path)
    with open(chosen.path, "rb") as file:
        accuracy = float(pickle.load(file).score(frame.drop(columns="target"), frame["target"]))
    metrics.log_metric("tried", len(models))
    metrics.log_metric("accuracy", accuracy)
    shutil.copyfile(chosen.path, best.path)
    best.metadata.update(chosen.metadata, accuracy=accuracy)
    return {name: best.metadata[name] for name in ("learning_rate", "max_depth")}


@dsl.pipeline(name="sweep", description="A grid search in parallel.")
def sweep(learning_rates: list = [0.03, 0.1, 0.3], depths: list = [1, 2]) -> dict:
    """Load, fit each combination in parallel, select."""
    data = load()
    combinations = grid(learning_rates=learning_rates, depths=depths)
    with dsl.ParallelFor(combinations.output, parallelism=4) as settings:
        fitted = fit(train=data.outputs["train"], settings=settings)
    return select(
        scores=dsl.Collected(fitted.outputs["Output"]),
        models=dsl.Collected(fitted.outputs["model"]),
        test=data.outputs["test"],
    ).outputs["Output"]
