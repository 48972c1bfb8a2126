"""Pictures: every row and pick where it belongs, numbers apart, files whole."""

import numpy as np
import pytest
from matplotlib.text import Text

from dual_jax.plots.maps import MAX_NUMBERED, MAX_SHOWN, check_suffix, pool_map, write

X = np.random.default_rng(0).normal(size=(60, 4)) * [4, 2, 1, 1]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def numbers(figure):
    return {text.get_text(): text for text in figure.axes[0].texts}


def test_the_map_shows_pool_labelled_rows_and_picks_with_a_title_and_shares(tmp_path):
    labeled = np.arange(60) < 10

    figure = pool_map(X, np.array([50, 20, 30]), labeled=labeled, title="3 of 60")

    pale, crosses, dots = (scatter.get_offsets() for scatter in figure.axes[0].collections)
    assert (len(pale), len(crosses), len(dots)) == (50, 10, 3)
    assert legend(figure) == ["pool", "labelled before", "picked"]
    assert figure.axes[0].get_title() == "3 of 60"
    assert figure.axes[0].get_xlabel().endswith("% of the variance)")


def test_places_and_shares_are_those_of_principal_components():
    centred = X - X.mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)

    figure = pool_map(X, np.array([0]))

    places = figure.axes[0].collections[0].get_offsets().data
    # signs are free; 1e-9 is float64 rounding on values of size 10
    np.testing.assert_allclose(np.abs(places), np.abs(u[:, :2] * s[:2]), atol=1e-9)
    assert f"{s[0] ** 2 / (s**2).sum():.1%}" in figure.axes[0].get_xlabel()


def test_picks_are_coloured_by_rank_and_the_first_is_on_top():
    picks = np.array([5, 9, 40])

    figure = pool_map(X, picks)

    pool, dots = figure.axes[0].collections
    np.testing.assert_array_equal(dots.get_array(), [3, 2, 1])
    np.testing.assert_array_equal(dots.get_offsets(), pool.get_offsets()[picks[::-1]])


def test_the_first_picks_carry_their_rank_at_their_place():
    picks = np.arange(25)

    figure = pool_map(X, picks)

    pool = figure.axes[0].collections[0].get_offsets()
    assert set(numbers(figure)) == {str(rank) for rank in range(1, MAX_NUMBERED + 1)}
    np.testing.assert_allclose(numbers(figure)["3"].xy, pool[2])


def test_numbers_do_not_cover_each_other_even_when_picks_are_close():
    crowd = np.concatenate([X, X[:1] + 0.02 * X[:12]])

    figure = pool_map(crowd, np.arange(60, 72))

    figure.draw_without_rendering()  # puts the numbers where they are drawn
    boxes = [Text.get_window_extent(text) for text in numbers(figure).values()]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_one_pick_of_two_rows_is_drawn_without_a_colour_bar():
    figure = pool_map(np.array([[0.0, 1.0], [2.0, 4.0]]), np.array([1]))

    assert len(figure.axes) == 1


def test_of_a_big_pool_a_stated_sample_and_all_picks_are_drawn():
    big = np.random.default_rng(0).normal(size=(MAX_SHOWN + 5, 2))

    figure = pool_map(big, np.arange(100))

    pale, dots = figure.axes[0].collections
    assert (len(pale.get_offsets()), len(dots.get_offsets())) == (MAX_SHOWN, 100)
    assert legend(figure)[0] == "pool (20,000 of 20,005 rows shown)"
    assert pale.get_rasterized()


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")])
def test_the_name_decides_the_format(tmp_path, suffix, start):
    path = tmp_path / f"map.{suffix}"

    write(pool_map(X, np.array([1, 2])), path)

    assert path.read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_picture_that_fails_half_way_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "map.png"
    path.write_bytes(b"old")
    figure = pool_map(X, np.array([1, 2]))
    monkeypatch.setattr(figure.axes[0], "draw", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        write(figure, path)

    assert path.read_bytes() == b"old"


def test_another_format_is_refused():
    with pytest.raises(ValueError, match=r"map.gif: its name must end in .png, .svg, .pdf"):
        check_suffix("map.gif")


@pytest.mark.usefixtures("no_matplotlib")
@pytest.mark.parametrize("draw", [lambda: pool_map(X, np.array([1])), lambda: check_suffix("map.png")])
def test_without_matplotlib_the_command_that_installs_it_is_named(draw):
    with pytest.raises(ImportError, match=r'pip install "dual-jax\[plot\]"'):
        draw()


def test_clusters_colour_the_pool_and_the_legend_says_so():
    figure = pool_map(X, np.array([5]), clusters=np.arange(60) // 20)
    assert len(np.unique(figure.axes[0].collections[0].get_facecolors(), axis=0)) == 3
    assert "pool, coloured by cluster" in legend(figure)


def test_a_map_by_t_sne_keeps_far_groups_apart():
    x = np.concatenate([X, X + 500.0])
    figure = pool_map(x, np.array([3, 90]), how="tsne")
    near, far = figure.axes[0].collections[1].get_offsets()[::-1]
    pale = figure.axes[0].collections[0].get_offsets()
    spread = np.linalg.norm(pale[:59] - pale[:59].mean(0), axis=1).mean()
    assert np.linalg.norm(near - far) > spread
    assert figure.axes[0].get_xlabel() == "t-SNE 1"


def test_an_unknown_map_is_refused():
    with pytest.raises(ValueError, match="use one of pca, tsne, umap"):
        pool_map(X, np.array([5]), how="mds")


def test_without_umap_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(ImportError, match="pip install umap-learn"):
        pool_map(X, np.array([5]), how="umap")
