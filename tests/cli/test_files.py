"""``dual-jax select`` of folders and lists of pictures and recordings, and of tables that name them."""

import csv
import json
import pathlib
import sys
from functools import partial

import numpy as np
import pytest
from drawn import draw_pictures, record, stripes
from PIL import Image

from dual_jax.cli import main
from dual_jax.data.pictures import read_pictures
from dual_jax.views import encoder, files, keeping

QUICK = {"steps": 2, "n_views": 2}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own_with_quick_codes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(encoder, "learn", partial(encoder.learn, **QUICK))
    monkeypatch.setattr(files, "learn", encoder.learn)


def select(pool, *words, n=4):
    words = ["select", pool, "-n", str(n), "--method", "kcenter", "--no-compile-cache", *words]
    assert main(words) == 0
    with open("picks.csv", newline="") as file:
        picks = list(csv.DictReader(file))
    with open("picks.json") as file:
        return picks, json.load(file)["input"]


def refused(capsys, *words):
    assert main(["select", *words]) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    return complaint


def test_a_folder_of_pictures_is_picked_in_its_learnt_code(tmp_path, capsys):
    draw_pictures(tmp_path / "photos" / "cats", 6)
    draw_pictures(tmp_path / "photos" / "dogs", 6, form="jpg")
    (tmp_path / "photos" / "notes.txt").write_text("mine")

    picks, used = select("photos")

    shown = capsys.readouterr().out
    assert [pick["id"].partition("/")[0] in ("cats", "dogs") for pick in picks] == [True] * 4
    assert "used: 8 features (views) alone" in shown
    assert "taken as: 12 colour pictures, 0 of them resized to 16 x 16 pixels" in shown
    assert "left out: 1 .txt (no pictures)" in shown
    assert (used["shape"], used["skipped"]) == ([12, 768], {})


@pytest.mark.slow
def test_the_picks_are_those_of_the_same_pictures_as_an_array(tmp_path):
    names = draw_pictures(tmp_path / "photos", 12)
    picks, used = select("photos")
    np.save("pool.npy", read_pictures(names, "photos").values)
    again, _ = select("pool.npy", "--embedding", "views")
    assert [pick["index"] for pick in picks] == [pick["index"] for pick in again]
    assert [pick["id"] for pick in picks] == [names[int(pick["index"])] for pick in picks]
    assert select("photos")[1]["sha256"] == used["sha256"]


def test_pictures_that_cannot_be_read_are_printed_counted_and_in_the_receipt(tmp_path, capsys):
    names = draw_pictures(tmp_path / "photos", 12)
    (tmp_path / "photos" / names[2]).write_bytes(b"no picture")

    picks, used = select("photos", n=11)

    shown = capsys.readouterr().out
    assert f"skipped: 1 of the files cannot be read\n  {names[2]}: is no picture" in shown
    assert used["skipped"].keys() == {names[2]}
    assert sorted(pick["id"] for pick in picks) == [name for name in names if name != names[2]]


def test_a_list_of_paths_is_a_pool_and_labelled_ones_are_found(tmp_path):
    names = [f"photos/{name}" for name in draw_pictures(tmp_path / "photos", 12)]
    pathlib.Path("files.txt").write_text("\n".join(reversed(names)))
    pathlib.Path("done.txt").write_text("\n".join(names[:8]))
    picks, used = select("files.txt", "--labeled", "done.txt")
    assert sorted(pick["id"] for pick in picks) == names[8:]
    assert used["n_labeled"] == 8


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_table_with_a_column_of_paths_is_a_pool(tmp_path, capsys, suffix):
    import pyarrow as pa
    from pyarrow import csv as pa_csv
    from pyarrow import parquet

    names = draw_pictures(tmp_path / "photos", 12)
    (tmp_path / "photos" / names[5]).write_bytes(b"no picture")
    columns = {"photo": names, "note": [f"picture number {i % 4} of many" for i in range(12)]}
    path = tmp_path / "photos" / f"pool{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps({k: v[i] for k, v in columns.items()}) + "\n" for i in range(12)))
    else:
        write = pa_csv.write_csv if suffix == ".csv" else parquet.write_table
        write(pa.table(columns), path)

    picks, used = select(str(path), "--as", "photo=image", "--exclude", "note", n=11)

    shown = capsys.readouterr().out
    assert "column photo: image (as asked)" in shown
    assert f"  {names[5]}: is no picture" in shown
    assert (used["shape"], used["dropped"]) == ([12, 768], {"note": "excluded"})
    assert "5" not in [pick["index"] for pick in picks]


def test_views_of_a_table_are_those_of_its_column_of_paths(tmp_path, capsys):
    names = draw_pictures(tmp_path / "photos", 12)
    rows = [{"id": f"u{i}", "photo": name, "age": i} for i, name in enumerate(names)]
    (tmp_path / "photos" / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    picks, used = select("photos/pool.jsonl", "--embedding", "views", "--keep", "photo")

    shown = capsys.readouterr().out
    assert "column photo: image (paths of pictures, such as 000.png); 12 colour pictures" in shown
    assert used["dropped"]["age"] == "beside the files of 'photo'"
    assert [pick["photo"] for pick in picks] == [names[int(pick["index"])] for pick in picks]
    folder, _ = select("photos")
    assert [pick["index"] for pick in folder] == [pick["index"] for pick in picks]


def test_a_folder_of_recordings_is_picked_in_its_code_or_its_spectra(tmp_path, capsys):
    record(tmp_path / "sounds", 16)
    picks, used = select("sounds", n=2)
    assert "16 recordings at 8,000 samples a second, 600 samples each" in capsys.readouterr().out
    assert len({int(pick["index"]) % 2 for pick in picks}) == 2  # a low and a high tone
    assert used["embedding"]["kind"] == "series"
    assert select("sounds", "--embedding", "spectral")[1]["embedding"]["source"] == "spectral"


def test_features_go_to_a_file_with_the_encoder_for_new_pictures(tmp_path):
    names = draw_pictures(tmp_path / "photos", 12)
    _, used = select("photos", "--features", "features.npz")
    found = np.load("features.npz")
    assert found["ids"].tolist() == names
    assert list(found["code"].shape) == used["embedding"]["shape"]
    assert {"local", "closed", "network"} <= {*found.files}
    new = encoder.encode(keeping.load("features.npz"), read_pictures(names[3:5], "photos").values)
    np.testing.assert_allclose(new, found["code"][3:5], atol=1e-4)
    select("photos", "--features", "features.npz")  # which replaces it


@pytest.mark.slow
def test_how_far_two_seeds_agree_is_printed_with_a_warning_where_they_do_not(monkeypatch, capsys):
    monkeypatch.setattr("dual_jax.cli.embeddings.FEWEST", 20)
    monkeypatch.setattr(keeping, "learn", encoder.learn)
    for share, is_warned in [(0.9, False), (0.1, True)]:
        monkeypatch.setattr(keeping, "adjusted_rand_index", lambda *_, share=share: share)
        np.save("pool.npy", np.random.default_rng(0).normal(size=(20, 12, 12)))
        _, used = select("pool.npy", "--embedding", "views")
        shown = capsys.readouterr().out
        assert f"code: two seeds agree by {share:.2f}" in shown
        assert ("warning: below" in shown) is is_warned
        assert used["embedding"]["stability"] == share


@pytest.mark.slow
def test_pixels_can_go_beside_the_code_and_a_page_shows_the_picks(tmp_path):
    names = draw_pictures(tmp_path / "photos", 12)
    select("photos", "--with-inputs", "--report", "page.html")
    assert pathlib.Path("page.html").stat().st_size > 10_000
    np.save("codes.npy", np.random.default_rng(0).normal(size=(len(names), 3)))
    _, used = select("photos", "--embedding", "codes.npy")
    assert used["embedding"]["shape"] == [12, 3]


def test_copies_of_picked_pictures_are_numbered(tmp_path):
    draw_pictures(tmp_path / "photos", 12)
    picks, _ = select("photos", "--copy-to", "chosen")
    assert sorted(path.name for path in pathlib.Path("chosen").iterdir()) == sorted(
        f"{pick['rank']}_{pick['id']}" for pick in picks
    )


INVALID = {
    "an empty folder": (["empty", "-n", "2"], "is a folder without pictures, .wav files or texts"),
    "a folder of other files": (["songs", "-n", "2"], "it holds 2 .mp3, 1 .ogg: convert sound to .wav"),
    "columns of files": (["photos", "-n", "2", "--id-column", "x"], "has no column 'x'"),
    "kinds of files": (["photos", "-n", "2", "--as", "x=image"], "--as is for tables"),
    "a shape of files": (["photos", "-n", "2", "--sample-shape", "8x8"], "have their own"),
    "spectra of pictures": (["photos", "-n", "2", "--embedding", "spectral"], "is for series"),
    "too many picks": (["photos", "-n", "99"], "99"),
    "a list of none": (["none.txt", "-n", "2"], "names no pictures and no .wav files, such as 'hello'"),
    "a list with one twice": (["twice.txt", "-n", "2"], "more than once"),
    "features of another form": (["photos", "-n", "2", "--features", "x.csv"], "must end in .npz"),
    "features over another file": (["photos", "-n", "2", "--features", "own.npz"], "was not written by"),
    "features of no code": (["pool.csv", "-n", "2", "--features", "x.npz"], "says something of --embedding"),
    "files on disk": (["photos", "-n", "2", "--stream"], "cannot stay on disk"),
}


@pytest.mark.parametrize("case", INVALID)
def test_what_is_invalid_ends_in_one_line(case, tmp_path, capsys):
    draw_pictures(tmp_path / "photos", 6)
    (tmp_path / "empty").mkdir()
    (tmp_path / "songs").mkdir()
    for name in ("1.mp3", "2.mp3", "3.ogg"):
        (tmp_path / "songs" / name).touch()
    pathlib.Path("none.txt").write_text("hello\n")
    pathlib.Path("twice.txt").write_text("a.png\na.png\n")
    pathlib.Path("pool.csv").write_text("a,b\n1,2\n3,4\n5,7\n")
    np.savez("own.npz", mine=1)
    words, complaint = INVALID[case]
    assert complaint in refused(capsys, *words)


def test_without_pillow_a_folder_is_an_error_that_names_the_command(tmp_path, capsys, monkeypatch):
    draw_pictures(tmp_path / "photos", 6)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert 'pip install "dual-jax[images]"' in refused(capsys, "photos", "-n", "2")


def test_forty_folders_of_malformed_pictures_end_in_skips_or_one_line(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    whole = draw_pictures(tmp_path / "whole", 4, form="jpg")
    monkeypatch.setattr("dual_jax.cli.select._pick", lambda args, source: stop(len(source.pool.x)))
    counts = []

    def stop(n):
        counts.append(n)
        raise KeyboardInterrupt

    for i in range(40):
        folder = tmp_path / f"pool{i}"
        folder.mkdir()
        for name in whole[: 1 + i % 4]:
            data = bytearray((tmp_path / "whole" / name).read_bytes())
            for place in rng.integers(0, len(data), rng.integers(0, 3)):
                data[place] = rng.integers(256)
            (folder / name).write_bytes(bytes(data[: rng.integers(len(data) // 2, 2 * len(data))]))
        status = main(["select", str(folder), "-n", "1"])
        complaint = capsys.readouterr().err
        assert (status, complaint.count("\n")) in [(130, 1), (2, 1)]
    assert 0 < len(counts) < 40


def test_a_picture_upside_down_by_exif_is_the_same_pool(tmp_path):
    names = draw_pictures(tmp_path / "photos", 12)
    first, _ = select("photos")
    exif = Image.Exif()
    exif[0x0112] = 3
    for name in names:
        turned = Image.open(tmp_path / "photos" / name).rotate(180)
        turned.save(tmp_path / "photos" / name, exif=exif)
    again, _ = select("photos")
    assert again == first


@pytest.mark.slow
def test_in_a_learnt_code_the_dictionary_is_small_unless_it_is_asked_for(monkeypatch, capsys):
    monkeypatch.setattr("dual_jax.cli.select.CODE_DICTIONARY", 8)
    np.save("pool.npy", np.random.default_rng(0).normal(size=(20, 12, 12)))
    quick = ["--embedding", "views", "--method", "dual", "--knob", "steps=2", "--knob", "pretrain_steps=2"]
    select("pool.npy", *quick)
    assert "(views) alone, with C of 8 of 20 rows" in capsys.readouterr().out
    select("pool.npy", *quick, "--knob", "dictionary_size=20")
    assert "(views) alone\n" in capsys.readouterr().out


@pytest.mark.slow
def test_compare_reads_a_folder_whose_subfolders_are_the_classes(tmp_path, capsys):
    for i, name in enumerate(["across", "down"]):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for j in range(12):
            Image.fromarray(stripes(2 * j + i)).save(folder / f"{j:02d}.png")
    (tmp_path / "photos" / "down" / "broken.png").write_bytes(b"no picture")
    words = [
        "--methods",
        "kcenter",
        "--repeats",
        "2",
        "--budgets",
        "2,4",
        "--judge",
        "nearest",
        "--out",
        "out",
    ]

    assert main(["compare", "photos", *words]) == 0

    shown = capsys.readouterr().out
    assert "classes: the folders of the files" in shown
    assert "  down/broken.png: is no picture" in shown
    assert "# Methods on photos" in shown


@pytest.mark.slow
def test_compare_reads_a_column_of_paths_beside_numbers(tmp_path, capsys):
    names = draw_pictures(tmp_path / "photos", 16)
    lines = [f"{name},{i % 3},{'ab'[i % 2]}" for i, name in enumerate(names)]
    (tmp_path / "photos" / "pool.csv").write_text("photo,size,kind\n" + "\n".join(lines) + "\n")
    words = ["compare", "photos/pool.csv", "--label-column", "kind", "--methods", "kcenter", "--repeats", "2"]
    words += ["--budgets", "2,4", "--judge", "nearest"]

    assert main([*words, "--as", "photo=image", "--out", "both"]) == 0
    assert "column photo: image (as asked)" in capsys.readouterr().out
    assert main([*words, "--embedding", "views", "--out", "code"]) == 0
    assert "left out: size (beside the files of 'photo')" in capsys.readouterr().out


def saved(folder, names, **more):
    """Write a data set of pictures as Hugging Face ``datasets`` saves it, in two files."""
    import pyarrow as pa

    cells = [{"bytes": (folder / name).read_bytes(), "path": name} for name in names]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array(cells, kind), **more})
    place = folder.parent / "saved"
    place.mkdir()
    files = ["data-0.arrow", "data-1.arrow"]
    for name, part in zip(files, (table.slice(0, 5), table.slice(5)), strict=True):
        with pa.OSFile(str(place / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(part)
    (place / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in files]}))
    return table


@pytest.mark.slow
def test_a_saved_data_set_of_pictures_gives_the_picks_of_their_folder(tmp_path, capsys):
    names = draw_pictures(tmp_path / "photos", 12)
    (tmp_path / "photos" / names[7]).write_bytes(b"\x89PNG\r\n no picture")
    saved(tmp_path / "photos", names)
    by_folder, _ = select("photos")
    capsys.readouterr()

    picks, used = select("saved", "--report", "page.html")

    shown = capsys.readouterr().out
    assert "column image: image (pictures in the cells); 11 colour pictures" in shown
    assert f"  row 7 ({names[7]}): " in shown
    assert used["skipped"].keys() == {f"row 7 ({names[7]})"}
    assert [names[int(pick["index"])] for pick in picks] == [pick["id"] for pick in by_folder]
    page = (tmp_path / "page.html").read_text()
    assert page.count('class="thumb"') >= 4
    assert page.count("data:image/jpeg;base64,") >= 4


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_pictures_in_a_table_are_a_column_beside_others(tmp_path, capsys, suffix):
    from pyarrow import feather, parquet

    table = saved(tmp_path / "photos", draw_pictures(tmp_path / "photos", 12), age=[*range(12)])
    write = parquet.write_table if suffix == ".parquet" else feather.write_feather
    write(table, f"pool{suffix}")

    _, used = select(f"pool{suffix}", "--keep", "all")

    assert "column image: image (pictures in the cells)" in capsys.readouterr().out
    assert (used["shape"], used["dropped"]) == ([12, 9], {})
    with open("picks.csv", newline="") as file:
        assert {row["image"] for row in csv.DictReader(file)} < {f"{i:03d}.png" for i in range(12)}


def test_picked_pictures_of_a_table_are_written_for_the_labelling_tool(tmp_path, capsys):
    names = draw_pictures(tmp_path / "photos", 12)
    saved(tmp_path / "photos", names)
    words = ["saved", "-n", "3", "--method", "kcenter", "--out", "tasks.json"]

    assert "--copy-to DIR" in refused(capsys, *words)
    prefix = "/data/local-files/?d="
    assert main(["select", *words, "--copy-to", "picked", "--url-prefix", prefix]) == 0

    tasks = [task["data"] for task in json.loads((tmp_path / "tasks.json").read_text())]
    assert [task["image"] for task in tasks] == [
        f"{prefix}picked/{task['rank']}_{names[task['row_index']]}" for task in tasks
    ]
    for task in tasks:
        copy = tmp_path / task["image"].removeprefix(prefix)
        assert copy.read_bytes() == (tmp_path / "photos" / names[task["row_index"]]).read_bytes()


def test_compare_reads_pictures_in_a_table(tmp_path, capsys):
    from pyarrow import parquet

    labels = ["across" if i % 2 else "down" for i in range(24)]
    table = saved(tmp_path / "photos", draw_pictures(tmp_path / "photos", 24), kind=labels)
    parquet.write_table(table, "pool.parquet")
    words = ["--label-column", "kind", "--methods", "kcenter", "--budgets", "2,4", "--repeats", "2"]
    words += ["--judge", "nearest"]
    assert main(["compare", "pool.parquet", *words, "--out", "compared"]) == 0
    assert "image: image (pictures in the cells)" in capsys.readouterr().out
