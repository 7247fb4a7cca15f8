"""The annotations by which a job asks for checkpoints."""

import pytest

from ketch.training.checkpoints.contract import Wish, problems, wish_of

P = "checkpoints.ketch.dev/"


def test_without_annotations_there_is_no_wish():
    assert wish_of("job", {"other": "x"}) is None
    assert list(problems({"other": "x"})) == []


@pytest.mark.parametrize(
    ("annotations", "wish"),
    [
        ({"volume": "auto"}, Wish(claim="", path="")),
        (
            {"volume": "auto", "size": "5Gi", "retain": "true", "keep": "all", "access-mode": "ReadWriteMany"},
            Wish(claim="", path="", size="5Gi", retain=True, keep="all", access_mode="ReadWriteMany"),
        ),
        ({"volume": "shared"}, Wish(claim="shared", path="job")),
        ({"volume": "shared", "path": "a/b"}, Wish(claim="shared", path="a/b")),
    ],
)
def test_what_is_wished(annotations: dict[str, str], wish: Wish):
    given = {P + key: value for key, value in annotations.items()}
    assert wish_of("job", given) == wish
    assert list(problems(given)) == []


@pytest.mark.parametrize(
    ("annotations", "field", "words"),
    [
        ({"volumes": "auto", "volume": "auto"}, "metadata.annotations", "supported values"),
        ({"size": "5Gi"}, f"metadata.annotations[{P}volume]", "say where checkpoints are kept"),
        ({"volume": "No_Name"}, f"metadata.annotations[{P}volume]", "the name of a PersistentVolumeClaim"),
        ({"volume": "auto", "size": "much"}, f"metadata.annotations[{P}size]", "must be a positive quantity"),
        ({"volume": "auto", "size": "0"}, f"metadata.annotations[{P}size]", "must be a positive quantity"),
        ({"volume": "auto", "keep": "0"}, f"metadata.annotations[{P}keep]", "must be a positive number, or all"),
        ({"volume": "auto", "retain": "yes"}, f"metadata.annotations[{P}retain]", "supported values"),
        ({"volume": "auto", "access-mode": "Own"}, f"metadata.annotations[{P}access-mode]", "supported values"),
        ({"volume": "auto", "path": "x"}, f"metadata.annotations[{P}path]", "about a claim that is there"),
        ({"volume": "shared", "size": "1Gi"}, f"metadata.annotations[{P}size]", "about a claim of the job's own"),
        ({"volume": "shared", "path": "../x"}, f"metadata.annotations[{P}path]", "stay inside the volume"),
        ({"volume": "shared", "path": "/x"}, f"metadata.annotations[{P}path]", "stay inside the volume"),
    ],
)
def test_what_is_wrong_is_told_by_its_field(annotations: dict[str, str], field: str, words: str):
    (cause,) = problems({P + key: value for key, value in annotations.items()})
    assert cause.field == field
    assert words in cause.message
