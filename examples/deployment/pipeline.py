"""Train a model and let its quality decide what becomes of it; somebody is told in any case."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output, PipelineTaskFinalStatus

SKLEARN = ["scikit-learn==1.7.2", "pandas==2.3.3"]


@dsl.component(packages_to_install=SKLEARN)
def train(rounds: int, model: Output[Model]) -> float:
    """A classifier of wines by their chemistry; returns its accuracy on wines that it has not seen."""
    import pickle

    from sklearn.datasets import load_wine
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    wines, sorts = load_wine(return_X_y=True)
    known, unseen, labels, truth = train_test_split(wines, sorts, test_size=0.4, random_state=7)
    classifier = make_pipeline(StandardScaler(), SGDClassifier(max_iter=rounds, tol=None, random_state=7))
    classifier.fit(known, labels)
    with open(model.path, "wb") as file:
        pickle.dump(classifier, file)
    return float(classifier.score(unseen, truth))


@dsl.component
def deploy(model: Input[Model], release: Output[Model]) -> str:
    """Put the model where the service finds it."""
    import shutil

    shutil.copyfile(model.path, release.path)
    return "deployed"


@dsl.component
def ask_for_review(model: Input[Model], accuracy: float, request: Output[Artifact]) -> str:
    """Good, but not good enough to go out unseen."""
    with open(request.path, "w") as file:
        file.write(f"Please look at {model.uri}: its accuracy is {accuracy:.3f}.\n")
    return "in review"


@dsl.component
def reject(accuracy: float, needed: float) -> str:
    """Nothing is deployed."""
    print(f"accuracy {accuracy:.3f} is below {needed}")
    return "rejected"


@dsl.component
def tell(status: PipelineTaskFinalStatus, message: Output[Artifact]):
    """Runs however the pipeline ends."""
    text = f"{status.pipeline_task_name}: {status.state}"
    if status.error_message:
        text += f" ({status.error_message})"
    with open(message.path, "w") as file:
        file.write(text)
    print(text)


@dsl.component
def record(decision: str) -> str:
    """What was decided, whichever branch decided it."""
    return decision


@dsl.pipeline(name="deployment", description="Deploy, review or reject, by measured quality.")
def deployment(rounds: int = 50, deploy_from: float = 0.95, review_from: float = 0.8):
    """Train; then one of three ways; then tell."""
    told = tell()
    with dsl.ExitHandler(told, name="decide"):
        trained = train(rounds=rounds)
        model, accuracy = trained.outputs["model"], trained.outputs["Output"]
        with dsl.If(accuracy >= deploy_from, name="good"):
            good = deploy(model=model)
        with dsl.Elif(accuracy >= review_from, name="middling"):
            middling = ask_for_review(model=model, accuracy=accuracy)
        with dsl.Else(name="bad"):
            bad = reject(accuracy=accuracy, needed=review_from)
        record(decision=dsl.OneOf(good.outputs["Output"], middling.outputs["Output"], bad.output))
