"""A first line of numbers: a header, a sample, or a question to the caller."""

import pytest

from dual_jax.data.errors import InputError
from dual_jax.data.headers import first_line_is_header


def decide(text, is_quoted=False):
    first, *rows = [line.split(",") for line in text.split()]
    return first_line_is_header("pool.csv", first, rows, is_quoted)


HEADERS = {
    "years beside a name": "country,1990,1991 C0,0.12,0.13 C1,0.5,0.1",
    "wavelengths": "400,410 0.1,0.2 0.3,0.4",
    "falling wavenumbers": "4000,3998,3996 0.1,0.3,0.2",
    "evenly spaced decimals": "1100.5,1102.5,1104.5,1106.5,1108.5 0.1,0.3,0.2,0.2,0.1",
    "even up to rounding": "3999.64,3997.71,3995.78,3993.86,3991.93 0.1,0.3,0.2,0.2,0.1",
    "column numbers": "0,1,2 0.5,1.5,9 1,2,3",
    "column numbers from 1": "1,2,3 0.5,1.5,9",
    "a year above decimals": "country,growth,1990 C0,1,0.12",
    "years above integers, beside names of columns": "id,1990,1991 7,3,9 8,1,2",
}
SAMPLES = {
    "integers": "0,1,2 3,4,5",
    "decimals": "1.5,2.5 3.5,1.5",
    "rising, as all lines are": "1,2,3 4,5,7 2,3,4",
    "one line": "1,2",
    "a label and a number, the label again below": "setosa,5 setosa,5.1 virginica,4.9",
    "missing cells": "NA,1 2,3",
    "only missing cells": "NA,? 2,3",
    "integers in a table that drops .0": "3,7 1.5,2 4,9",
    "infinite numbers": "inf,-inf,inf 1,2,3",
    "huge numbers": "1e308,-1e308,1e308 1.5,2,3",
    "truth values": "True,False False,False",
    "truth values and a number": "True,0.5 False,0.25",
    "a missing cell and text that comes again": "NA,x 1.5,x 2.5,y",
    "integers at random": "3,7,1 4,0,2 9,9,1",
}
QUESTIONS = {
    "years that are not even": "country,1990,1995,2010 C0,0.12,0.13,0.2",
    "years above counts": "country,1990,1991,1992 C0,120,131,17 C1,5,80,33",
    "integers above decimals": "105,33,871 0.1,0.5,0.2 0.3,0.1,0.7",
    "evenly spaced integers above integers": "1,2,3,4,5 3,3,1,5,2 4,4,2,1,1",
    "years above a column of decimals and one of integers": "1990,1991 70.125,-47 27.5,-39",
    "two years above integers": "1990,1991 70,-47 27,-39",
    "one year beside a name": "country,1990 C0,0.12 C1,0.5",
    "text above a number, beside a decimal": "n.d.,1.2 3,4.1",
    "eight rising decimals": "1.1,1.3,1.4,1.9,2.2,2.3,3.9,4.0 0.2,0.1,0.7,0.3,0.4,0.1,0.2,0.9",
}


@pytest.mark.parametrize("text", HEADERS.values(), ids=HEADERS)
def test_numbers_that_name_columns_are_a_header_and_that_is_said(text):
    is_header, guess = decide(text)

    assert is_header
    assert guess.startswith("the first line is a header: its cells are ")


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
def test_numbers_like_those_below_are_a_sample(text):
    assert not decide(text)[0]


@pytest.mark.parametrize("text", QUESTIONS.values(), ids=QUESTIONS)
def test_where_both_are_plausible_the_caller_is_asked(text):
    with pytest.raises(
        InputError, match=r"may be a header .* or the first sample: .*--header or --no-header"
    ):
        decide(text)


def test_text_beside_missing_cells_above_numbers_is_asked_about():
    with pytest.raises(InputError, match="a header or a sample with missing cells: decide by --header"):
        decide("NA,x 1.5,y 2.5,z")


def test_quotes_around_the_first_line_s_numbers_alone_make_it_a_header():
    assert decide("1990,1995 3,4", is_quoted=True)[0]
