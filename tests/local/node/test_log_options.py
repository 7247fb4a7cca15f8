"""The parameters of a log request, as different clients write them."""

from datetime import UTC, datetime

import pytest

from ketch.local.node.logs import parse_options

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "t", ""])
def test_any_way_to_write_true_follows(text: str):
    assert parse_options({"follow": text, "timestamps": text}, NOW).follow
    assert parse_options({"follow": text, "timestamps": text}, NOW).timestamps


@pytest.mark.parametrize("text", ["false", "False", "0"])
def test_anything_else_does_not(text: str):
    assert not parse_options({"follow": text}, NOW).follow


def test_a_wrong_number_is_named():
    with pytest.raises(ValueError, match="tailLines"):
        parse_options({"tailLines": "many"}, NOW)
