"""The report is one file: escaped, with its pictures in it, without an address outside."""

import base64
import hashlib
import re

import numpy as np
import pytest

from dual_jax.plots.diagnostics import coverage_curve
from dual_jax.plots.hover import Cloud
from dual_jax.plots.maps import Placed
from dual_jax.plots.page import MOST_ROWS, Picture, as_html


@pytest.fixture(scope="module")
def page():
    pictures = [Picture(coverage_curve({"rows": [1.0, 0.5]}), "how it falls & where")]
    return as_html("<b>pool", ["3 of 9"], pictures, ("rank", "id"), [(1, "<i>"), (2, "x")], '{"a": 1}')


def test_nothing_outside_the_file_is_asked_for(page):
    assert not re.findall(r"https?:|//|<script|<link|@import", re.sub(r"(base64,|sha256-)[^\"']*", "", page))
    assert page.count("data:image/png;base64,") == 1


def test_the_policy_allows_the_style_and_the_script_of_the_page_and_nothing_else():
    cloud = Cloud(Placed(np.arange(2), np.eye(2), ("a", "b")), np.array([1]), np.zeros(2, bool))
    page = as_html("pool", [], [], ("rank",), [(1,)], "{}", cloud=cloud)

    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert (
            f"{name} 'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
        )
    assert "default-src 'none'" in policy
    assert not re.findall(r"<[^>]+ (style|on\w+)=", page)
    assert not re.findall(r"https?:|//|<link|@import", re.sub(r"(base64,|sha256-)[^\"']*", "", page))


def test_what_comes_from_files_cannot_become_markup(page):
    assert "<b>pool" not in page
    assert "<td>&lt;i&gt;</td>" in page
    assert "&quot;a&quot;: 1" in page


def test_a_long_list_of_picks_is_cut_and_counted():
    page = as_html("pool", [], [], ("rank",), [(i,) for i in range(MOST_ROWS + 7)], "{}")
    assert page.count("<td>") == MOST_ROWS
    assert "and 7 more." in page
