"""A headless Chromium of the system, by its DevTools protocol: what a page shows, requests and complains of."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATH = next(filter(None, map(shutil.which, NAMES)), None)
"""Of the program; None where there is none."""


class Browser:
    """One page. `errors` are what its console says as errors, `requests` the addresses that it asked for."""

    def __init__(self, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        import websocket

        self.folder = tempfile.mkdtemp(prefix="jnas-browser-")
        flags = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions"]
        flags += ["--disable-background-networking", "--enable-unsafe-swiftshader", "--force-color-profile=srgb"]
        flags += ["--hide-scrollbars", "--remote-debugging-port=0", "--remote-allow-origins=*"]
        self.process = subprocess.Popen(
            [PATH, *flags, f"--user-data-dir={self.folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port = self.wait(self._port, 60)
        self.errors, self.requests, self.ids = [], [], itertools.count(1)
        self.socket = websocket.create_connection(f"ws://127.0.0.1:{port[0]}{port[1]}", timeout=60)
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.resize(width, height, dark)

    def _port(self):
        path = Path(self.folder, "DevToolsActivePort")
        lines = path.read_text().split() if path.exists() else []
        return lines if len(lines) == 2 else None

    def call(self, method: str, **parameters):
        """The result of a command; what is told meanwhile is kept."""
        number = next(self.ids)
        message = {"id": number, "method": method, "params": parameters}
        self.socket.send(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self._hear(answer.get("method"), answer.get("params", {}))

    def _hear(self, method: str | None, told: dict) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"][:200])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(told["exceptionDetails"])[:600])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
            self.errors.append(json.dumps(told["args"])[:600])
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(told["entry"]["text"][:600])

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, path: Path) -> float:
        """Shows a page; returns the seconds until its texts are there, and the figures in the window."""
        start = time.perf_counter()
        self.call("Page.navigate", url=Path(path).absolute().as_uri())
        self.wait(lambda: self.run("document.documentElement?.dataset.drawn"), 60)
        if self.run("!document.querySelector('#progress-chart').hidden"):
            self.wait(lambda: self.run("!!document.querySelector('#progress-chart .main-svg')"))
        return time.perf_counter() - start

    def run(self, code: str):
        """The value of an expression of JavaScript."""
        answer = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition, seconds: float = 20):
        """The first value of a function that is true."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)
        return value

    def move(self, x: float, y: float) -> None:
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, path: Path, selector: str | None = None) -> None:
        """Writes a PNG of the whole page, or of one element."""
        box = f"document.querySelector({json.dumps(selector or 'html')}).getBoundingClientRect()"
        code = f"(b => [b.x + scrollX, b.y + scrollY, b.width, b.height])({box})"
        x, y, width, height = self.run(code)
        clip = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait(20)
        for _ in range(20):  # its helpers may still write
            shutil.rmtree(self.folder, ignore_errors=True)
            if not os.path.exists(self.folder):
                break
            time.sleep(0.1)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
