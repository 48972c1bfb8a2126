"""Our tasks in a real Label Studio, and its exports back: skipped where ``label-studio`` is not installed.

It needs an environment of its own, as it wants other versions than ours: name the program by ``LABEL_STUDIO``
or put it on the path. It is started on the loopback with an empty database and without anything that speaks
to other machines, and is ended with the tests.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid

import numpy as np
import pytest
from PIL import Image

from dual_jax.cli import main, options
from dual_jax.data.annotations import read_labels
from dual_jax.data.owncolumns import PoolFile
from dual_jax.data.tables import read_pool

STUDIO = os.environ.get("LABEL_STUDIO") or shutil.which("label-studio")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(STUDIO is None, reason="no label-studio on the path or in $LABEL_STUDIO"),
]
TOKEN = uuid.UUID(int=7).hex
PATIENCE = 900  # seconds for the start, which makes an empty database
TOPICS = ("weather", "trains", "cooking", "football", "taxes", "gardens")
FORMS = {"JSON": "json", "JSON_MIN": "json", "CSV": "csv", "TSV": "tsv"}
VIEW = """<View><{tag} name="{key}" value="${key}"/><Choices name="label" toName="{key}" choice="single">
<Choice value="yes"/><Choice value="no"/></Choices></View>"""


class Studio:
    """A running Label Studio: requests of its HTTP API."""

    def __init__(self, url):
        self.url = url

    def call(self, path, content=None, kind="application/json"):
        """Return the body of an answer; with content it is a POST."""
        data = content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": kind}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers)) as answer:
            return answer.read()

    def json(self, path, content=None):
        return json.loads(self.call(path, content))

    def project(self, tag, key):
        """Return the number of a new project to choose yes or no."""
        return self.json("/api/projects", {"title": key, "label_config": VIEW.format(tag=tag, key=key)})["id"]

    def upload(self, project, path):
        """Import a file as the page does."""
        mark = uuid.uuid4().hex
        about = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n'
        body = about.encode() + b"Content-Type: application/json\r\n\r\n" + path.read_bytes()
        body += f"\r\n--{mark}--\r\n".encode()
        self.call(f"/api/projects/{project}/import", body, f"multipart/form-data; boundary={mark}")

    def label_next(self, project, key, *, skip=False):
        """Label or skip the task that is offered next, and return it."""
        task = self.json(f"/api/projects/{project}/next")
        choice = {"from_name": "label", "to_name": key, "type": "choices", "value": {"choices": ["yes"]}}
        answer = {"result": [] if skip else [choice], "was_cancelled": skip}
        self.call(f"/api/tasks/{task['id']}/annotations", answer)
        return task

    def export(self, project, form, path):
        path.write_bytes(self.call(f"/api/projects/{project}/export?exportType={form}"))
        return path


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """Start the server with a user, a token and an empty folder; stop it and all its processes afterwards."""
    folder = tmp_path_factory.mktemp("studio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    words += ["--data-dir", str(folder / "data"), "--username", "me@example.com", "--password", TOKEN]
    words += ["--user-token", TOKEN, "--enable-legacy-api-token"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    local = {"LOCAL_FILES_SERVING_ENABLED": "true", "LOCAL_FILES_DOCUMENT_ROOT": str(folder)}
    silent = {"COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false", "SENTRY_DSN": ""}
    settings = local | silent | {"FRONTEND_SENTRY_DSN": "", "BASE_DATA_DIR": str(folder / "data")}
    log = folder / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen(
            [STUDIO, *words],
            env=own | {f"LABEL_STUDIO_{name}": value for name, value in settings.items()},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        found = Studio(f"http://127.0.0.1:{port}")
        wait_for(found, process, log)
        yield found, folder
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(studio, process, log):
    """Wait until the server answers, or fail with the end of its log."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            studio.call("/api/projects")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(1)
        else:
            return
    pytest.fail(f"Label Studio did not start: {log.read_text()[-2000:]}")


@pytest.fixture
def here(studio, monkeypatch):
    """Work in the folder that the server may show files of, without a cache of compiled programs."""
    monkeypatch.setenv(options.NO_CACHE, "1")
    monkeypatch.chdir(studio[1])
    return studio[1]


def select(*words):
    assert main(["select", *map(str, words), "--method", "kcenter", "--quiet"]) == 0
    with open(words[words.index("--out") + 1]) as file:
        return [task["data"] for task in json.load(file)]


def labelled_ids(pool, path, **how):
    """Return the ids of the rows that an export calls labelled, and those that it calls skipped."""
    ids = np.asarray(pool.ids)
    found = read_labels([path], PoolFile(pool), label_column=None, is_empty_labelled=False, **how)
    return set(ids[found.is_labelled]), set(ids[found.is_skipped])


def test_sentences_are_offered_in_our_order_and_come_back_from_every_export(studio, here):
    server = studio[0]
    lines = [f"s{i:03d},I have question {i} on {TOPICS[i % 6]} today\n" for i in range(60)]
    (here / "pool.csv").write_text("uid,text\n" + "".join(lines))
    words = ("pool.csv", "--id-column", "uid", "--task-key", "text=text", "--out")
    picks = select(*words, here / "tasks.json", "-n", 10)
    project = server.project("Text", "text")
    server.upload(project, here / "tasks.json")

    offered = [server.label_next(project, "text", skip=place == 2)["data"] for place in range(5)]

    assert offered == picks[:5]  # whole: ids, texts and ranks
    done = {data["row_id"] for data in offered} - {picks[2]["row_id"]}
    pool = read_pool("pool.csv", id_column="uid", any_columns=True)
    for form, suffix in FORMS.items():
        export = server.export(project, form, here / f"{form}.{suffix}")
        labelled, skipped = labelled_ids(pool, export, id_column="uid")
        assert labelled == done
        assert skipped == ({picks[2]["row_id"]} if form == "JSON" else set())
    again = select(*words, here / "more.json", "-n", 10, "--labeled", here / "JSON.json")
    assert not {data["row_id"] for data in again} & {data["row_id"] for data in offered}


def test_pictures_of_a_folder_are_shown_and_come_back(studio, here):
    server, rng = studio[0], np.random.default_rng(0)
    (here / "photos" / "old ones").mkdir(parents=True)
    for i in range(12):
        place = "old ones/" if i % 2 else ""
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(here / "photos" / f"{place}{i}.png")
    np.save(here / "code.npy", rng.normal(size=(12, 2)))
    prefix = ("--embedding", here / "code.npy", "--url-prefix", "/data/local-files/?d=photos/")
    picks = select("photos", "-n", 6, *prefix, "--out", here / "pictures.json")
    project = server.project("Image", "image")
    about = {"project": project, "path": str(here / "photos"), "use_blob_urls": True}
    server.call("/api/storages/localfiles", about)
    server.upload(project, here / "pictures.json")

    offered = [server.label_next(project, "image")["data"] for _ in range(4)]

    assert [data["row_id"] for data in offered] == [data["row_id"] for data in picks[:4]]
    for data in offered:  # the address in the task is that of the file
        assert server.call(data["image"]) == (here / "photos" / data["row_id"]).read_bytes()
    for form, suffix in FORMS.items():
        export = server.export(project, form, here / f"pictures-{form}.{suffix}")
        labelled, _ = labelled_ids(read_pool("photos"), export, id_column=None)
        assert labelled == {data["row_id"] for data in offered}
