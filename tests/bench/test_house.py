"""The house is measured as it is described."""

from bench.house import measure, sentences

CODE = 'def f():\n    """Say\n    it."""\n    from dual_jax.base.b import x\n    return x\n'
FILES = {
    "dual_jax/__init__.py": "from dual_jax.top.a import f\n",
    "dual_jax/base/__init__.py": "",
    "dual_jax/base/b.py": "x = 1\n",
    "dual_jax/top/__init__.py": "",
    "dual_jax/top/a.py": CODE,
    "README.md": "# Title\n\nOne `a.b` two [three](x.md). Four,\nfive:\n\n- six\n\n```sh\nno words\n```\n",
}


def test_a_small_house_has_two_rooms_one_above_the_other(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = measure(tmp_path)
    assert (found["rooms"], found["arrows"], found["floors"], found["lines"]) == (2, 1, 2, 7)
    assert found["longest_function"] == ["top/a.py:f", 3]  # without the two lines of its docstring
    assert (found["readme_mean_sentence"], found["readme_longest_sentence"]) == (2.3, 4)


def test_sentences_leave_out_code_tables_and_pictures():
    page = "![a map](a.png)\n\n| a | b |\n\nOne. `two` three.\n"
    assert sentences(page) == ["One.", "Code three."]
