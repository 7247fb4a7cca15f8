"""Tell from its description what a piece of Python's standard library is for: texts, features, classifier, report."""

from kfp import dsl
from kfp.dsl import ClassificationMetrics, Dataset, Input, Metrics, Model, Output

SKLEARN = ["scikit-learn==1.7.2", "pandas==2.3.3"]


@dsl.component(packages_to_install=SKLEARN)
def collect(topics: dict, texts: Output[Dataset]) -> int:
    """One row per documented class and function of each topic's modules; returns their number."""
    import importlib
    import inspect

    import pandas

    rows = set()
    for topic, modules in topics.items():
        for module in map(importlib.import_module, modules):
            for name, item in inspect.getmembers(module):
                if callable(item) and not name.startswith("_") and (text := inspect.getdoc(item)):
                    rows.add((topic, text))
    frame = pandas.DataFrame(sorted(rows), columns=["topic", "text"])
    frame.to_csv(texts.path, index=False)
    texts.metadata["rows"] = len(frame)
    return len(frame)


@dsl.component(packages_to_install=SKLEARN)
def split(texts: Input[Dataset], test_share: float, train: Output[Dataset], test: Output[Dataset]):
    """The same share of each topic is kept for the test."""
    import pandas
    from sklearn.model_selection import train_test_split

    frame = pandas.read_csv(texts.path)
    parts = train_test_split(frame, test_size=test_share, stratify=frame["topic"], random_state=7)
    for part, artifact in zip(parts, (train, test)):
        part.to_csv(artifact.path, index=False)


@dsl.component(packages_to_install=SKLEARN)
def train(texts: Input[Dataset], longest_phrase: int, model: Output[Model]):
    """Words and phrases, weighted by how rare they are, into logistic regression."""
    import pickle

    import pandas
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    frame = pandas.read_csv(texts.path)
    vectorizer = TfidfVectorizer(ngram_range=(1, longest_phrase), sublinear_tf=True, stop_words="english")
    classifier = make_pipeline(vectorizer, LogisticRegression(C=10, max_iter=1000, class_weight="balanced"))
    classifier.fit(frame["text"], frame["topic"])
    with open(model.path, "wb") as file:
        pickle.dump(classifier, file)
    model.metadata["framework"] = "scikit-learn"
    model.metadata["vocabulary"] = len(vectorizer.vocabulary_)


@dsl.component(packages_to_install=SKLEARN)
def evaluate(
    texts: Input[Dataset], model: Input[Model], metrics: Output[Metrics], confusion: Output[ClassificationMetrics]
) -> float:
    """Accuracy on texts the model has not seen, and which topics it takes for which."""
    import pickle

    import pandas
    from sklearn.metrics import accuracy_score, confusion_matrix

    frame = pandas.read_csv(texts.path)
    with open(model.path, "rb") as file:
        classifier = pickle.load(file)
    guesses = classifier.predict(frame["text"])
    topics = list(classifier.classes_)
    confusion.log_confusion_matrix(topics, confusion_matrix(frame["topic"], guesses, labels=topics).tolist())
    accuracy = float(accuracy_score(frame["topic"], guesses))
    metrics.log_metric("accuracy", accuracy)
    metrics.log_metric("guessing", float(frame["topic"].value_counts(normalize=True).max()))
    return accuracy


@dsl.pipeline(name="text", description="A classifier of short technical texts.")
def text(
    topics: dict = {
        "files": ["os", "pathlib", "shutil", "tempfile", "zipfile", "tarfile", "io"],
        "network": ["http.client", "http.server", "urllib.request", "smtplib", "ftplib", "socket", "ssl"],
        "numbers": ["math", "cmath", "statistics", "random", "decimal", "fractions"],
        "tasks": ["asyncio", "threading", "multiprocessing", "concurrent.futures", "queue", "sched"],
    },
    test_share: float = 0.25,
    longest_phrase: int = 2,
) -> float:
    """Collect, split, train, evaluate."""
    collected = collect(topics=topics)
    parts = split(texts=collected.outputs["texts"], test_share=test_share)
    trained = train(texts=parts.outputs["train"], longest_phrase=longest_phrase)
    return evaluate(texts=parts.outputs["test"], model=trained.outputs["model"]).outputs["Output"]
