"""A browser without a window, spoken to by Chromium's DevTools protocol over a pair of pipes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless_shell")
WORDS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--remote-debugging-pipe", "--window-size=1200,1000", "--force-prefers-reduced-motion"),
)
START = "import os, sys; r, w = map(int, sys.argv[1:3]); os.dup2(r, 3); os.dup2(w, 4); "
START += "os.execvp(sys.argv[3], sys.argv[3:])"
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}


def find():
    """Return the path of a Chromium on this machine; None where there is none."""
    named = next(filter(None, map(shutil.which, NAMES)), None)
    cache = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / ".cache" / "ms-playwright"))
    return named or next(map(str, sorted(cache.glob("chromium*/chrome-linux*/*chrome"))), None)


class Browser:
    """A page in a browser; use it as a context. What its console says is kept in ``messages``."""

    def __init__(self, path, folder):
        self.path, self.folder, self.messages = path, folder, []
        self._number, self._rest, self._session = 0, b"", None

    def __enter__(self):
        """Start the browser and attach to a blank page."""
        # Descriptors 3 and 4 are the browser's own; the pipe's ends are moved above them first.
        ends = [os.dup(end) if end < 5 else end for end in (*os.pipe(), *os.pipe())]
        read, self._out, self._in, write = ends
        words = [sys.executable, "-c", START, str(read), str(write), self.path, *WORDS]
        self._process = subprocess.Popen(
            [*words, f"--user-data-dir={self.folder}"],
            pass_fds=(read, write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        """Close the browser; one that does not close is stopped."""
        os.close(self._out)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)

    def call(self, method, **params):
        """Return the answer to a command of the protocol."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        command = {"id": self._number, "method": method, "params": params, **session}
        os.write(self._out, json.dumps(command).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, path):
        """Open a file and wait until it is there."""
        self.call("Page.navigate", url=path.as_uri())
        while (event := self._receive()).get("method") != "Page.loadEventFired":
            self._note(event)

    def evaluate(self, expression):
        """Return the value of an expression of JavaScript."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def move(self, x, y):
        """Move the pointer there, in pixels of the window."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key):
        """Press and release a key."""
        about = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if (kind, key) == ("keyDown", "Enter") else {}
            self.call("Input.dispatchKeyEvent", type=kind, **about, **text)

    def _note(self, event):
        """Keep what the console says: messages, errors, and what the policy refuses."""
        params = event.get("params", {})
        if event.get("method") == "Runtime.consoleAPICalled":
            self.messages.append(str([value.get("value") for value in params["args"]]))
        elif event.get("method") == "Runtime.exceptionThrown":
            self.messages.append(str(params["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded":
            self.messages.append(str(params["entry"]["text"]))

    def _receive(self):
        """Return the next message of the browser."""
        while b"\0" not in self._rest:
            content = os.read(self._in, 1 << 16)
            if not content:
                raise RuntimeError("the browser is gone")
            self._rest += content
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)
