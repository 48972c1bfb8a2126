"""Embedders by name: functions of the user's own, and adapters of packages.

model2vec and jimm run on tiny models that the tests make, where they are installed; the other packages are
replaced by modules of the same shape.
"""

import json
import sys
import types

import numpy as np
import pytest

from dual_jax.data.errors import InputError, MissingPackageError
from dual_jax.views.embedders import embed, find_embedder, is_embedder

TEXTS = ["red cat", "blue dog", "red dog"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a module of the user's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_for_tests.py").write_text(
        "import numpy as np\n"
        "def lengths(texts):\n    return np.array([[len(t), t.count('d')] for t in texts])\n"
        "class Model:\n    @staticmethod\n    def embed(texts):\n        return lengths(texts)\n"
        "number = 3\n"
        "def ragged(texts):\n    return np.zeros(len(texts))\n"
    )
    yield tmp_path
    sys.modules.pop("mine_for_tests", None)


def module(name, **members):
    made = types.ModuleType(name)
    vars(made).update(members)
    return made


def test_a_function_of_a_module_in_the_working_folder_is_found(here):
    assert embed(find_embedder("mine_for_tests:lengths"), TEXTS).tolist() == [[7, 1], [8, 1], [7, 2]]
    assert find_embedder("mine_for_tests:Model.embed")(["d"]).tolist() == [[1, 1]]
    assert str(here) not in sys.path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_here:f", "No module named"),
        ("mine_for_tests:nothing", "has no nothing"),
        ("mine_for_tests:number", "is int, wanted a function"),
        ("lsa2", "names no embedder"),
        ("model2vec:nowhere", "names no folder"),
    ],
)
def test_a_name_of_nothing_is_refused_with_what_to_do(here, name, message):
    with pytest.raises(InputError, match=message):
        find_embedder(name)


def test_words_that_name_files_are_no_embedders(here):
    (here / "a:b").write_text("")
    assert not is_embedder("a:b")
    assert not is_embedder("codes.npy")
    assert not is_embedder("views")
    assert is_embedder("package.module:function")
    assert is_embedder("jimm:models/vit")


@pytest.mark.parametrize("answer", [np.zeros(3), np.zeros((2, 4)), np.full((3, 1), np.nan), [["a"]] * 3])
def test_an_answer_that_is_no_table_of_finite_numbers_is_refused(answer):
    with pytest.raises(InputError, match="wanted finite numbers, one row for each"):
        embed(lambda texts: answer, TEXTS)


@pytest.mark.parametrize("prefix", ["model2vec", "sentence-transformers", "fastembed", "jimm"])
def test_a_package_that_is_not_there_is_named_with_the_command_that_installs_it(
    prefix, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, prefix.replace("-", "_"), None)
    with pytest.raises(MissingPackageError, match="pip install"):
        find_embedder(f"{prefix}:{tmp_path}")


def test_a_tiny_static_model_embeds_a_text_as_the_mean_of_its_words(tmp_path):
    model2vec = pytest.importorskip("model2vec")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[UNK]", "red", "blue", "cat", "dog"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    vectors = np.arange(15, dtype=np.float32).reshape(5, 3)
    model2vec.StaticModel(vectors, tokenizer, normalize=False).save_pretrained(tmp_path)

    rows = embed(find_embedder(f"model2vec:{tmp_path}"), TEXTS)

    expected = [vectors[[1, 3]].mean(0), vectors[[2, 4]].mean(0), vectors[[1, 4]].mean(0)]
    np.testing.assert_allclose(rows, expected, rtol=1e-5)


def test_sentence_transformers_loads_a_folder_without_the_network(tmp_path, monkeypatch):
    class SentenceTransformer:
        def __init__(self, name, *, local_files_only):
            assert local_files_only
            assert name == str(tmp_path)

        def encode(self, texts, *, convert_to_numpy, show_progress_bar):
            assert convert_to_numpy
            assert not show_progress_bar
            return np.ones((len(texts), 2), np.float32)

    package = module("sentence_transformers", SentenceTransformer=SentenceTransformer)
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    assert embed(find_embedder(f"sentence-transformers:{tmp_path}"), TEXTS).shape == (3, 2)


def test_fastembed_takes_a_name_that_it_knows(monkeypatch):
    class TextEmbedding:
        def __init__(self, model_name):
            self.model_name = model_name

        @classmethod
        def list_supported_models(cls):
            return [{"model": "small/one"}]

        def embed(self, texts):
            return (np.full(4, len(text), np.float32) for text in texts)

    monkeypatch.setitem(sys.modules, "fastembed", module("fastembed", TextEmbedding=TextEmbedding))
    assert embed(find_embedder("fastembed:small/one"), TEXTS)[:, 0].tolist() == [7, 8, 7]
    with pytest.raises(InputError, match="no model that it knows"):
        find_embedder("fastembed:large/two")


@pytest.fixture
def pictures(tmp_path):
    """Two pictures, and a folder for a model that reads squares of 32 pixels."""
    image = pytest.importorskip("PIL.Image")
    paths = [str(tmp_path / f"{i}.png") for i in range(2)]
    for i, path in enumerate(paths):
        image.new("RGB", (40, 20 + i), (255, 0, 51 * i)).save(path)
    folder = tmp_path / "model"
    folder.mkdir()
    return paths, folder


def test_pictures_reach_a_vision_model_at_its_size_and_in_its_colours(pictures, monkeypatch):
    paths, folder = pictures
    (folder / "config.json").write_text(json.dumps({"model_type": "dinov2", "image_size": 32}))
    colours = {"image_mean": [0.5, 0.5, 0.0], "image_std": [0.5, 0.5, 1.0]}
    (folder / "preprocessor_config.json").write_text(json.dumps(colours))

    class DINOv2Model:
        @classmethod
        def from_pretrained(cls, name):
            assert name == str(folder)
            return cls()

        def eval(self):
            self.is_for_use = True

        def __call__(self, images):
            assert self.is_for_use
            assert images.shape == (2, 32, 32, 3)
            return images.mean(axis=(1, 2))

    monkeypatch.setitem(sys.modules, "jimm", module("jimm", DINOv2Model=DINOv2Model))
    rows = embed(find_embedder(f"jimm:{folder}"), paths)
    np.testing.assert_allclose(rows, [[1, -1, 0], [1, -1, 0.2]], atol=1e-5)  # float32 sums of 1,024 pixels


def test_a_model_of_another_type_is_refused_with_those_that_there_are(pictures, monkeypatch):
    _, folder = pictures
    monkeypatch.setitem(sys.modules, "jimm", module("jimm"))
    (folder / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    with pytest.raises(InputError, match="of type 'resnet'"):
        find_embedder(f"jimm:{folder}")


def test_a_tiny_vision_transformer_gives_the_same_rows_twice(pictures):
    jimm = pytest.importorskip("jimm")
    import jax
    from jax.sharding import AxisType

    paths, folder = pictures
    mesh = jax.make_mesh((1,), ("fsdp",), axis_types=(AxisType.Explicit,), devices=jax.devices()[:1])
    sizes = {
        "img_size": 32,
        "patch_size": 16,
        "num_layers": 1,
        "num_heads": 2,
        "mlp_dim": 8,
        "hidden_size": 8,
    }
    with jax.set_mesh(mesh):
        jimm.VisionTransformer(**sizes).save_pretrained(str(folder))
    embedder = find_embedder(f"jimm:{folder}")
    rows = embed(embedder, paths)
    assert rows.shape == (2, 8)
    np.testing.assert_array_equal(rows, embed(embedder, paths))
