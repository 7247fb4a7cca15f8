"""Quantities are exact."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.kube.quantities import QuantityError, format_quantity, milli, parse_quantity, whole


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("500m", Fraction(1, 2)),
        ("1.5Gi", 3 << 29),
        ("2e3", 2000),
        ("2E3", 2000),
        ("1E", 10**18),
        ("-1k", -1000),
        (".5", Fraction(1, 2)),
        ("100n", Fraction(1, 10**7)),
        (2, 2),
        (0.5, Fraction(1, 2)),
    ],
)
def test_values(text, value):
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1gi", "--1", "1e99", "0x10", "1,5"])
def test_no_quantities(text):
    with pytest.raises(QuantityError):
        parse_quantity(text)


def test_rounding_is_up():
    assert whole("1100m") == 2
    assert milli("1u") == 1
    assert milli("0.1") == 100


@given(st.fractions(min_value=0, max_value=10**15).map(lambda value: Fraction(int(value * 10**9), 10**9)))
def test_the_canonical_text_means_the_value(value):
    assert parse_quantity(format_quantity(value)) == value


@given(st.integers(min_value=0, max_value=1 << 60))
def test_the_canonical_binary_text_means_the_value(value):
    assert parse_quantity(format_quantity(Fraction(value), binary=True)) == value
