"""Amounts and dates that are written as text."""

import datetime

import pyarrow as pa
import pytest

from dual_jax.data.written import dates_of, marks_of

AMOUNTS = {
    "a currency and groups": (["€ 1,234.50", "€ 3", None], {"point": [1234.5, 3, None]}),
    "a share": (["12.3%", "4 %"], {"point": [12.3, 4]}),
    "a unit": (["5 kg", "12kg"], {"point": [5, 12]}),
    "below zero": (["-$3", "$-4", "\u2212$5"], {"point": [-3, -4, -5]}),
    "groups by points": (["1.234,50", "12"], {"comma": [1234.5, 12]}),
    "groups by narrow blanks": (["1\u202f234", "12"], {"point": [1234, 12]}),
    "decimals": (["0,123", "0,500"], {"comma": [0.123, 0.5]}),
    "either": (["1,234", "950"], {"point": [1234, 950], "comma": [1.234, 950]}),
    "plain numbers": (["1.234", "2.5"], {"point": [1.234, 2.5]}),
}
NONE = {
    "two units": ["5 kg", "12 cm"],
    "codes": ["SKU-001", "SKU-002"],
    "letters before": ["A12", "A13"],
    "uneven groups": ["1,23,456", "3"],
    "fractions": ["3/4", "1/2"],
    "times": ["12:30", "11:00"],
    "words": ["three", "4"],
}
DATES = {
    "day first": (["13/01/2024 05:00", "01/02/2024 06:30"], {"%d/%m/%Y %H:%M"}),
    "month first": (["01/13/2024", "02/01/2024"], {"%m/%d/%Y"}),
    "either": (["01/02/2024", "03/04/2024"], {"%d/%m/%Y", "%m/%d/%Y"}),
    "either, the same day": (["05/05/2024", "06/06/2024"], {"%d/%m/%Y"}),
    "two digits of the year": (["13.01.24", "01.02.24"], {"%d.%m.%y"}),
    "a month by its name": (["Jan 5, 2024", "Feb 13, 2024"], {"%b %d, %Y"}),
    "a half of the day": (["01/02/2024 05:00 PM", "01/13/2024 05:00 AM"], {"%m/%d/%Y %I:%M %p"}),
    "a time zone": (["2024-01-02T03:04:05Z", "2024-01-02T03:04:05+02:00"], {"ISO 8601 with a time zone"}),
    "parts of seconds": (["2024-01-02 03:04:05.125"], {"ISO 8601"}),
    "digits alone": (["20240102", "20240103"], set()),
    "words": (["soon"], set()),
}


def column(cells):
    return pa.chunked_array([pa.array(cells, pa.large_string())])


@pytest.mark.parametrize("case", AMOUNTS)
def test_an_amount_is_read_with_each_decimal_mark_that_it_may_have(case):
    cells, readings = AMOUNTS[case]
    assert {mark: values.to_pylist() for mark, values in marks_of(column(cells)).items()} == readings


@pytest.mark.parametrize("case", NONE)
def test_what_is_no_amount_is_not_read_as_one(case):
    assert marks_of(column(NONE[case])) == {}


@pytest.mark.parametrize("case", DATES)
def test_dates_are_read_in_each_form_that_gives_others(case):
    cells, forms = DATES[case]
    assert dates_of(column(cells)).keys() == forms


def test_the_day_and_the_time_are_those_that_are_written():
    (read,) = dates_of(column(["13/01/2024 05:30"])).values()
    assert read.to_pylist() == [datetime.datetime(2024, 1, 13, 5, 30)]
