"""Exported ONNX files in a browser: onnxruntime-web in a headless Chromium gives the logits of onnxruntime."""

import functools
import http.server
import json
import queue
import shutil
import subprocess
import threading

import numpy as np
import pytest
from flax import nnx

from jnas.space import Template
from jnas.space import _layers as lt
from jnas.train import Views

pytest.importorskip("onnx", reason="pip install 'jnas[export]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'jnas[export]'")

from jnas.export._int8 import quantise  # noqa: E402
from jnas.export._onnx import onnx_model  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LAYERS = [lt.Conv2d(16, 3), lt.BatchNorm2d(), lt.PReLU(True), lt.MaxPool2d(2, 2), lt.Conv2d(32, 3), lt.LeakyReLU(0.1)]
PAGE = """<script src="node_modules/onnxruntime-web/dist/ort.wasm.min.js"></script>
<script>
async function classify() {
  ort.env.wasm.numThreads = 1;
  const pixels = new Uint8Array(await (await fetch("images.bin")).arrayBuffer());
  const found = {};
  for (const name of ["model.onnx", "model_int8.onnx"]) {
    const session = await ort.InferenceSession.create(name);
    const images = new ort.Tensor("uint8", pixels, [10, 16, 12, 3]);
    found[name] = Array.from((await session.run({ images })).logits.data);
  }
  return found;
}
const send = (result) => fetch("result", { method: "POST", body: JSON.stringify(result) });
classify().then(send, (error) => send({ error: String(error) }));
</script>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and puts what the page sends into a queue."""

    results: queue.Queue

    def do_POST(self):
        self.results.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def open_page(folder):
    """What the page `index.html` of a folder sends."""
    Handler.results = queue.Queue()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}/user"]
    address = f"http://127.0.0.1:{server.server_port}/index.html"
    browser = subprocess.Popen([CHROMIUM, *words, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return Handler.results.get(timeout=120)
    finally:
        browser.terminate()
        browser.wait()
        server.shutdown()
        server.server_close()


@pytest.mark.exhaustive
@pytest.mark.skipif(not (CHROMIUM and shutil.which("npm")), reason="needs Chromium and npm")
def test_a_browser_gives_the_same_classes(tmp_path):
    words = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(tmp_path), "onnxruntime-web"]
    if subprocess.run(words, capture_output=True, timeout=300).returncode:
        pytest.skip("npm cannot install onnxruntime-web")
    template = Template([*LAYERS, lt.GlobalAvgPool2d(), lt.Flatten(), lt.Linear(10)], (3, 16, 12))
    module = template.build(nnx.Rngs(0))
    module.eval()
    model = onnx_model(template, module, views=Views(True, 1), metadata={"form": "onnx"})
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    images = np.random.default_rng(0).integers(0, 256, (10, 16, 12, 3), np.uint8)
    quantise(model, tmp_path / "model_int8.onnx", images, "uint8")
    (tmp_path / "images.bin").write_bytes(images.tobytes())
    (tmp_path / "index.html").write_text(PAGE)
    found = open_page(tmp_path)
    for name, tolerance in (("model.onnx", 1e-4), ("model_int8.onnx", 2e-2)):
        expected = onnxruntime.InferenceSession(tmp_path / name).run(None, {"images": images})[0]
        given = np.reshape(found[name], expected.shape)
        np.testing.assert_allclose(given, expected, rtol=0, atol=tolerance)
        if name == "model.onnx":
            assert (given.argmax(-1) == expected.argmax(-1)).all()
