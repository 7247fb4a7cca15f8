"""Which URI lies where."""

import pytest

from ketch.metadata.objects import KeyOutside
from ketch.metadata.stores.table import Connection, Kind, Place, place_of, split

S3 = Connection(kind=Kind.S3)
TABLE = (
    Place(scheme="s3", bucket="models", prefix="team/a", connection=S3),
    Place(scheme="s3", bucket="models", connection=S3),
    Place(scheme="gs", connection=Connection(kind=Kind.GCS)),
)


@pytest.mark.parametrize(
    ("uri", "number"),
    [
        ("s3://models/team/a/x", 0),
        ("s3://models/team/a", 0),
        ("s3://models/team/ab/x", 1),
        ("s3://models", 1),
        ("s3://models/x?region=eu", 1),
        ("gs://anything/x", 2),
        ("s3://other/x", None),
        ("minio://models/x", None),
        ("https://models/x", None),
        ("s3://models/../x", None),
        ("/s3/models", None),
    ],
)
def test_the_first_place_that_holds_a_uri_has_it(uri: str, number: int | None):
    assert place_of(TABLE, uri) is (None if number is None else TABLE[number])


@pytest.mark.parametrize("uri", ["s3://", "s3://b/../x", "s3://b//x", "s3://b/./x", "ftp://b/x", "b/x", "s3://b/\0"])
def test_what_names_no_place_is_refused(uri: str):
    with pytest.raises(KeyOutside):
        split(uri)
