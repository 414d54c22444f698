"""Runs a notebook in JupyterLab in headless Chromium, light and dark, checks it, and draws the pictures of the docs.

Checked are: no cell fails, the console shows no error, all text has enough contrast, live tables are updated, and a
restarted kernel leaves no process, port or temporary file behind. It needs Linux, Chromium, and an environment with
the packages stonechat, jupyterlab and pillow.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "python" / "pictures"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
CONTRAST = 4.5
"""Smallest ratio of contrast between a text and its background: level AA of WCAG 2."""
WIDTH = 800
HEIGHT = 3000
SCALE = 1.5
"""Size of the window in CSS pixels, and the number of pixels of the picture for each of them."""
COLORS = 128
MOST_BYTES = 200_000
WAIT_SECONDS = 120.0
POLL_SECONDS = 0.2

CELLS = r"""
%load_ext stonechat
%stonechat start

%stonechat sub "orders.>"

orders = server.streams.create("ORDERS", ["orders.>"])
%stonechat pub orders.new tea for two -H customer:17
%stonechat pub orders.new coffee, black -H customer:4
%stonechat pub orders.paid customer 17
orders

config = server.kv("CONFIG", history=5)
config["db.url"] = b"pg://one"
config["db.url"] = b"pg://two"
config["log.level"] = b"debug"
config

del config["db.url"]
for entry in config.history("db.url"):
    print(entry.revision, entry.operation, entry.value)

photos = server.objects("PHOTOS")
photos.put("teapot.jpg", bytes(300_000))
photos.put("kettle.jpg", bytes(90_000))
photos

%stonechat status
"""
"""Cells of the notebook that the pictures show, with empty lines between them."""

MORE_CELLS = r"""
%stonechat kv

%stonechat kv CONFIG

%stonechat kv CONFIG log.level

%stonechat top

%stonechat sub "orders.>" --for 0.5

config.history("db.url")[-1]

server.streams

server.stats()

orders.get(1)

server.consumers.create("ORDERS", "worker", filter_subject="orders.new")

for number in range(25):
    config[f"key.{number}"] = b"value"
config

import os
print(os.getpid())
"""
"""Cells that are checked, but not in the pictures. The last one prints the process of the kernel."""

WATCHED = 1
"""Index of the cell whose table must show the messages of later cells."""

RAN = "jupyterapp.shell.currentWidget.content.widgets"
READY = """(() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  return panel?.sessionContext?.session?.kernel?.status === 'idle' && panel.content.widgets.length > 1;
})()"""
OUTPUTS = f"{RAN}.map(cell => cell.model.sharedModel.getOutputs?.() ?? [])"
BOTTOM = f"Math.ceil({RAN}[%d].node.getBoundingClientRect().bottom)"
TEXTS = """(() => {
  const context = Object.assign(document.createElement('canvas'), {width: 1, height: 1})
    .getContext('2d', {willReadFrequently: true});
  const rgba = color => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const found = [];
  for (const element of document.querySelectorAll('.stonechat, .stonechat *')) {
    const text = [...element.childNodes].filter(node => node.nodeType === Node.TEXT_NODE)
      .map(node => node.data.trim()).join(' ').trim();
    if (!text || element.tagName === 'STYLE') continue;
    const layers = [];
    let opacity = 1;
    for (let above = element; above; above = above.parentElement) {
      const style = getComputedStyle(above);
      layers.unshift(rgba(style.backgroundColor));
      opacity *= Number(style.opacity);
    }
    const [red, green, blue, alpha] = rgba(getComputedStyle(element).color);
    found.push({text, layers, color: [red, green, blue, alpha * opacity]});
  }
  return found;
})()"""
"""Texts of our output with their colours and the backgrounds behind them, outermost first; alpha is from 0 to 1."""


class CheckError(Exception):
    """A check failed; the message says which one."""


class Text(NamedTuple):
    """A text of the page and its ratio of contrast."""

    text: str
    contrast: float


class Chromium:
    """A headless Chromium, controlled with its DevTools protocol through a pair of pipes."""

    def __init__(self, program: str, folder: Path) -> None:
        self.errors: list[str] = []
        """Errors of the console since the page was opened."""
        self._number = 0
        self._page: dict[str, str] = {}
        self._received = b""
        their_input, self._output = os.pipe()
        self._input, their_output = os.pipe()
        flags = ["--headless=new", "--remote-debugging-pipe", f"--user-data-dir={folder}", "--disable-gpu"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")
        # Chromium reads commands from descriptor 3 and writes to descriptor 4.
        shell = f'exec "$@" 3<&{their_input} 4>&{their_output}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", shell, "chromium", program, *flags, "about:blank"],
            pass_fds=(their_input, their_output),
            stderr=subprocess.DEVNULL,
        )
        os.close(their_input)
        os.close(their_output)

    def close(self) -> None:
        """Ends Chromium and its processes."""
        self._page = {}
        with contextlib.suppress(CheckError, OSError):
            self.call("Browser.close")
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._input)
        os.close(self._output)

    def open(self, url: str) -> None:
        """Opens a page in a new tab; the following calls are for this page."""
        if self._page:
            # A closed tab asks no question about unsaved changes.
            self.call("Page.close")
        self._page = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._page = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=SCALE, mobile=False
        )
        self.call("Emulation.setScrollbarsHidden", hidden=True)
        self.errors.clear()
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise CheckError(f"JavaScript failed: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def picture(self, height: int) -> bytes:
        """Returns the upper part of the page as PNG."""
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", clip=clip)["data"])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the DevTools protocol and returns its result."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters, **self._page}
        os.write(self._output, json.dumps(command).encode() + b"\0")
        end = time.monotonic() + WAIT_SECONDS
        while (message := self._next(end)).get("id") != self._number:
            self._note(message)
        if "error" in message:
            raise CheckError(f"{method}: {message['error']['message']}")
        result: dict[str, Any] = message["result"]
        return result

    def _next(self, end: float) -> dict[str, Any]:
        """Returns the next message of Chromium."""
        while b"\0" not in self._received:
            if not select.select([self._input], [], [], max(end - time.monotonic(), 0))[0]:
                raise CheckError("Chromium does not answer")
            read = os.read(self._input, 1 << 20)
            if not read:
                raise CheckError("Chromium has ended")
            self._received += read
        message, _, self._received = self._received.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed

    def _note(self, message: dict[str, Any]) -> None:
        """Keeps the errors of the console."""
        parameters = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(parameters["exceptionDetails"]))
        elif message.get("method") == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
            self.errors.append(json.dumps(parameters["args"]))
        elif message.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")


class Lab:
    """A JupyterLab with folders of its own for its settings, notebooks and temporary files."""

    def __init__(self, folder: Path) -> None:
        self._settings = folder / "settings"
        self.temporary = folder / "temporary"
        """The folder for temporary files of the kernels."""
        notebooks = folder / "notebooks"
        for path in (self._settings, self.temporary, notebooks):
            path.mkdir()
        cells = [
            {"cell_type": "code", "id": f"cell-{number}", "metadata": {}, "source": source, "outputs": []}
            | {"execution_count": None}
            for number, source in enumerate((CELLS + MORE_CELLS).strip().split("\n\n"))
        ]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
        (notebooks / "stonechat.ipynb").write_text(json.dumps(notebook))
        # Without questions to the network, and with all cells in the page.
        self._set("apputils-extension/notification", {"fetchNews": "false", "checkForUpdates": False})
        self._set("notebook-extension/tracker", {"windowingMode": "none"})
        token, port = secrets.token_hex(16), free_port()
        self._home = f"http://127.0.0.1:{port}"
        self.url = f"{self._home}/doc/tree/stonechat.ipynb?token={token}"
        folders = {
            name: str(folder / name.lower())
            for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
        }
        workspaces = {"JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces")}
        flags = ["--no-browser", "--allow-root", "--expose-app-in-browser", "--ServerApp.port_retries=0"]
        flags += [f"--ServerApp.port={port}", f"--IdentityProvider.token={token}"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *flags],
            cwd=notebooks,
            env={**os.environ, **folders, **workspaces}
            | {"JUPYTERLAB_SETTINGS_DIR": str(self._settings), "TMPDIR": str(self.temporary)},
            stdout=subprocess.DEVNULL,
            stderr=(folder / "jupyterlab.log").open("wb"),
        )

    def wait(self) -> None:
        """Waits until JupyterLab answers."""

        def answers() -> bool:
            if self._process.poll() is not None:
                raise CheckError("JupyterLab has ended")
            with contextlib.suppress(urllib.error.URLError):
                urllib.request.urlopen(f"{self._home}/api", timeout=10).close()
                return True
            return False

        wait_until(answers, "JupyterLab answers")

    def close(self) -> None:
        """Ends JupyterLab and its kernels."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def use_theme(self, theme: str) -> None:
        """Selects the theme of the pages that are opened from now on."""
        self._set("apputils-extension/themes", {"theme": THEMES[theme]})

    def _set(self, plugin: str, settings: dict[str, Any]) -> None:
        path = self._settings / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))


def main() -> int:
    """Runs the checks in both themes and writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="path of Chromium")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder for the pictures (default: the docs)")
    arguments = parser.parse_args()
    if not arguments.chromium:
        parser.error("Chromium is not on PATH: install it, or name it with --chromium")
    arguments.pictures.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory() as folder, running(arguments.chromium, Path(folder)) as (lab, chromium):
            for theme in THEMES:
                check(theme, lab, chromium, arguments.pictures)
    except CheckError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def running(program: str, folder: Path) -> Iterator[tuple[Lab, Chromium]]:
    """Runs a JupyterLab and a Chromium."""
    lab = Lab(folder)
    try:
        lab.wait()
        chromium = Chromium(program, folder / "chromium")
        try:
            yield lab, chromium
        finally:
            chromium.close()
    finally:
        lab.close()


def check(theme: str, lab: Lab, chromium: Chromium, pictures: Path) -> None:
    """Runs the notebook in a theme, checks it, writes its picture, and restarts the kernel."""
    lab.use_theme(theme)
    chromium.open(lab.url)
    wait_until(lambda: bool(chromium.evaluate(READY)), "the notebook is ready")
    is_light = chromium.evaluate("document.body.dataset.jpThemeLight")
    require(is_light == str(theme == "light").lower(), f"JupyterLab does not show the {theme} theme")
    chromium.evaluate("jupyterapp.commands.execute('notebook:run-all-cells').then(() => true)")
    wait_until(lambda: "3 changes" in html_of(outputs_of(chromium)[WATCHED]), "the live table is updated")
    wait_until(lambda: "ended" in json.dumps(outputs_of(chromium)), "the table with a limit has ended")
    outputs = outputs_of(chromium)
    texts = [measured(found) for found in chromium.evaluate(TEXTS)]
    least = min(texts, key=lambda text: text.contrast)
    for text in sorted(set(texts), key=lambda text: text.contrast):
        if text.contrast < CONTRAST:
            print(f"{theme}: contrast {text.contrast:.2f} of {text.text!r}", file=sys.stderr)
    picture = drawn(chromium.picture(chromium.evaluate(BOTTOM % CELLS.count("\n\n"))))
    (pictures / f"jupyterlab-{theme}.png").write_bytes(picture)
    require(len(picture) <= MOST_BYTES, f"the {theme} picture has {len(picture)} bytes")
    require(least.contrast >= CONTRAST, f"too little contrast in the {theme} theme")
    require(not chromium.errors, f"the console shows errors: {chromium.errors}")
    restart(lab, chromium, outputs)
    print(
        f"{theme}: {len(outputs)} cells, {len(texts)} texts with a contrast of {least.contrast:.1f} or more, "
        f"picture of {len(picture) // 1000} kB",
        flush=True,
    )


def restart(lab: Lab, chromium: Chromium, outputs: Sequence[list[dict[str, Any]]]) -> None:
    """Restarts the kernel, and checks that its process, port and temporary files are gone."""
    process = int(outputs[-1][0]["text"])
    url = html_of(outputs[0]).partition("nats://")[2].partition("<")[0]
    host, _, port = url.rpartition(":")
    require(bool(threads(process)), f"process {process} runs no server")
    require(is_open(host, int(port)), f"the server does not listen on {url}")
    require(any(lab.temporary.iterdir()), "the server has no temporary store")
    chromium.evaluate("void jupyterapp.commands.execute('kernelmenu:restart')")
    button = "document.querySelector('.jp-Dialog .jp-mod-accept')"
    wait_until(lambda: bool(chromium.evaluate(f"{button} !== null")), "JupyterLab asks about the restart")
    chromium.evaluate(f"{button}.click()")
    wait_until(lambda: not Path(f"/proc/{process}").exists(), "the process of the kernel ends")
    wait_until(lambda: bool(chromium.evaluate(READY)), "the kernel is ready again")
    require(not is_open(host, int(port)), f"port {port} is still open")
    left = [path.name for path in lab.temporary.iterdir() if "stonechat" in path.name]
    require(not left, f"temporary files are left: {left}")


def threads(process: int) -> list[str]:
    """Returns the names of the server's threads in a process."""
    names = [path.read_text().strip() for path in Path(f"/proc/{process}/task").glob("*/comm")]
    return [name for name in names if name.startswith("stonechat")]


def is_open(host: str, port: int) -> bool:
    """Returns whether a port accepts connections."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=5):
        return True
    return False


def outputs_of(chromium: Chromium) -> list[list[dict[str, Any]]]:
    """Returns the outputs of each cell, of which none may be an error."""
    outputs: list[list[dict[str, Any]]] = chromium.evaluate(OUTPUTS)
    for number, output in enumerate(outputs, 1):
        for one in output:
            failed = one["output_type"] == "error" or one.get("name") == "stderr"
            require(not failed, f"cell {number} failed: {one.get('text') or one.get('evalue')}")
    return outputs


def html_of(outputs: Sequence[dict[str, Any]]) -> str:
    """Returns the HTML of a cell's outputs."""
    return "".join("".join(output.get("data", {}).get("text/html", "")) for output in outputs)


def measured(found: dict[str, Any]) -> Text:
    """Returns a text with the contrast between its colour and the colour that the layers behind it give."""
    behind = [255.0, 255.0, 255.0]
    for layer in found["layers"]:
        behind = over(layer, behind)
    lightness = sorted((luminance(over(found["color"], behind)), luminance(behind)))
    return Text(found["text"], (lightness[1] + 0.05) / (lightness[0] + 0.05))


def over(color: Sequence[float], behind: Sequence[float]) -> list[float]:
    """Returns the colour that a transparent colour gives on a background."""
    *channels, alpha = color
    return [alpha * channel + (1 - alpha) * below for channel, below in zip(channels, behind, strict=True)]


def luminance(color: Sequence[float]) -> float:
    """Returns the relative luminance of a colour as defined by WCAG 2."""
    linear = [
        share / 12.92 if (share := channel / 255) <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for channel in color
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def drawn(picture: bytes) -> bytes:
    """Returns a picture with few colours, and so with few bytes."""
    small = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as opened:
        opened.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Waits until a condition holds; `what` describes it."""
    end = time.monotonic() + WAIT_SECONDS
    while not holds():
        require(time.monotonic() < end, f"waited in vain until {what}")
        time.sleep(POLL_SECONDS)


def require(holds: bool, otherwise: str) -> None:
    """Raises an error with the text `otherwise` if a condition does not hold."""
    if not holds:
        raise CheckError(otherwise)


def free_port() -> int:
    """Returns a port that is free at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
