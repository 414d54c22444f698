"""The IPython extension (`%load_ext stonechat`), in IPython's shell and in kernels."""

from __future__ import annotations

import re
import shlex
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stonechat import Server

IPython = pytest.importorskip("IPython")


class Shell:
    """IPython in this process, without a terminal."""

    def __init__(self) -> None:
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        InteractiveShell.clear_instance()
        config = Config()
        config.HistoryManager.enabled = False
        self.shell: Any = InteractiveShell.instance(config=config)
        self.run("%load_ext stonechat")

    def run(self, line: str) -> Any:
        result = self.shell.run_cell(line, store_history=False)
        result.raise_error()
        return result.result

    def refuses(self, line: str) -> str:
        from IPython.core.error import UsageError

        result = self.shell.run_cell(line, store_history=False)
        assert isinstance(result.error_in_exec, UsageError), result
        return str(result.error_in_exec)

    def completes(self, text: str) -> list[str]:
        found: list[str] = self.shell.complete(text.split(" ")[-1], text, len(text))[1]
        return found

    @property
    def server(self) -> Server:
        server = self.shell.user_ns["server"]
        assert isinstance(server, Server)
        return server


@pytest.fixture(name="shell")
def _shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell = Shell()
    yield shell
    shell.run("%unload_ext stonechat")
    shell.shell.clear_instance()


def test_start_status_and_stop(shell: Shell) -> None:
    assert shell.refuses("%stonechat status") == "no server runs: %stonechat start"
    server = shell.run("%stonechat start")
    assert server is shell.server
    assert bool(server.ready)
    assert shell.run("%stonechat start") is server
    assert shell.run("%stonechat status") is server
    assert "running" in server._repr_html_()
    assert shell.run("%stonechat stop") is None
    assert server.ready is False
    shell.run("%stonechat stop")


def test_options_of_start(shell: Shell, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "address already in use" in shell.refuses(f"%stonechat start --port {port}").lower()
    store = shlex.quote(str(tmp_path / "a b"))
    server = shell.run(f"%stonechat start --port {port} --monitor-port 0 --store {store} --as mine")
    assert (server.port, shell.shell.user_ns["mine"]) == (port, server)
    assert server.monitor_url
    assert (tmp_path / "a b").is_dir()


def test_a_variable_of_yours_is_left_alone(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run("server = 5")
    assert shell.run("%stonechat start").ready
    assert shell.shell.user_ns["server"] == 5
    assert "server is something else already: name a variable with --as" in capsys.readouterr().out


def test_messages(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run("%stonechat start")
    later = threading.Thread(target=_publish, args=(shell.server, 3))
    capsys.readouterr()
    later.start()
    shell.run("%stonechat sub a.> --count 3")
    later.join()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [f"a.{number}: \\x1b[31mred" for number in range(3)]
    stream = shell.server.streams.create("S", ["s.>"])
    shell.run("word = 'tea'")
    shell.run("%stonechat pub s.a {word} for two --count 2 -H Kind:green")
    assert [(one.data, one.headers) for one in stream.wait_for(2)] == [(b"tea for two", {"Kind": "green"})] * 2
    assert "can't be published to" in shell.refuses("%stonechat pub s.> x")
    assert "a header is NAME:VALUE" in shell.refuses("%stonechat pub s.a x -H Kind")
    shell.run("%stonechat sub s.> --for 0.05")


def _publish(server: Server, count: int) -> None:
    server.wait_for_subscription("a.>", timeout=30)
    for number in range(count):
        server._connection(None).publish(f"a.{number}", b"\x1b[31mred")


def test_buckets(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run("%stonechat start")
    assert repr(shell.run("%stonechat kv")) == "no buckets"
    assert shell.refuses("%stonechat kv CONFIG") == "there is no bucket CONFIG"
    assert shell.run("%stonechat kv CONFIG a.b some text").value == b"some text"
    assert shell.run("%stonechat kv CONFIG a.b").value == b"some text"
    assert "KV" not in repr(shell.run("%stonechat kv"))
    assert "CONFIG" in shell.run("%stonechat kv")._repr_html_()
    shell.run("%stonechat kv CONFIG c 1")
    shell.run("%stonechat kv CONFIG c --delete")
    assert "has no value of key 'c'" in shell.refuses("%stonechat kv CONFIG c")
    capsys.readouterr()
    shell.run("%stonechat kv CONFIG --count 2")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["put a.b: some text", "delete c"]
    assert "can't be a key" in shell.refuses("%stonechat kv CONFIG a..b 1")


def test_top(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run("%stonechat start")
    shell.server.kv("A")
    shell.run("%stonechat top --for 0.01")
    assert "stonechat (in process): " in capsys.readouterr().out


def test_what_is_wrong_with_a_line(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert "usage: %stonechat" in shell.refuses("%stonechat")
    assert "invalid choice: 'fly'" in shell.refuses("%stonechat fly")
    assert "invalid int value" in shell.refuses("%stonechat start --port many")
    assert "close the quotes" in shell.refuses("%stonechat pub a 'b")
    assert shell.run("%stonechat --help") is None
    assert "follow the messages of a subject" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*Completer.complete:PendingDeprecationWarning")
def test_completion(shell: Shell) -> None:
    assert {"start", "stop", "status", "sub", "pub", "kv", "top"} <= set(shell.completes("%stonechat "))
    assert "start" in shell.completes("%stonechat st")
    assert "--store" in shell.completes("%stonechat start --s")
    assert shell.completes("%stonechat kv B") == []
    shell.run("%stonechat start")
    bucket = shell.server.kv("BUCKET")
    bucket["db.url"] = b""
    shell.server.streams.create("S", ["orders.>"])
    assert "BUCKET" in shell.completes("%stonechat kv B")
    assert "db.url" in shell.completes("%stonechat kv BUCKET d")
    assert "orders.>" in shell.completes("%stonechat sub o")
    assert "orders.>" not in shell.completes("%stonechat top o")


def test_loading_twice_and_unloading(shell: Shell) -> None:
    server = shell.run("%stonechat start")
    shell.run("%reload_ext stonechat")
    assert not server.ready
    shell.run("%load_ext stonechat")
    server = shell.run("%stonechat start")
    shell.run("%unload_ext stonechat")
    assert not server.ready
    assert "stonechat" not in shell.shell.magics_manager.magics["line"]
    shell.run("%load_ext stonechat")


def test_what_the_page_shows(shell: Shell) -> None:
    page = (Path(__file__).parents[2] / "docs" / "python" / "notebooks.md").read_text()
    [block] = re.findall(r"^```ipython\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    for line in block.splitlines():
        shell.run(line)


# Kernels


@pytest.fixture(name="kernel")
def _kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    manager = pytest.importorskip("jupyter_client.manager")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    kernel, client = manager.start_new_kernel(kernel_name="python3")
    yield kernel, client
    client.stop_channels()
    kernel.shutdown_kernel(now=True)


class Outputs:
    """The outputs of a kernel, by display id."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.shown: list[dict[str, Any]] = []
        self.text = ""

    def hook(self, message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] in ("display_data", "update_display_data", "execute_result"):
            self.shown.append({"kind": message["msg_type"], **content})
        elif message["msg_type"] == "stream":
            self.text += content["text"]

    def run(self, code: str) -> str:
        self.text = ""
        reply = self.client.execute_interactive(code, timeout=60, output_hook=self.hook)
        assert reply["content"]["status"] == "ok", reply
        return self.text

    def until(self, pattern: str) -> str:
        """Waits until the text of a display matches `pattern`, and returns its HTML."""
        while True:
            for shown in self.shown:
                if re.search(pattern, shown["data"]["text/plain"], re.DOTALL):
                    return str(shown["data"]["text/html"])
            self.hook(self.client.get_iopub_msg(timeout=60))


def test_tables_of_a_kernel_are_live(kernel: tuple[Any, Any]) -> None:
    outputs = Outputs(kernel[1])
    outputs.run("%load_ext stonechat\n%stonechat start")
    outputs.run("%stonechat sub 'orders.>'")
    [table] = [shown for shown in outputs.shown if shown["kind"] == "display_data"]
    assert "messages on orders.> (live)" in table["data"]["text/plain"]
    outputs.run("%stonechat pub orders.new '<b>tea</b>'")
    html = outputs.until(r"orders\.new +<b>tea</b>")
    assert "&lt;b&gt;tea&lt;/b&gt;" in html
    updates = [shown for shown in outputs.shown if shown["kind"] == "update_display_data"]
    assert updates[-1]["transient"]["display_id"] == table["transient"]["display_id"]
    outputs.run("%stonechat kv CONFIG db.url pg://one")
    outputs.run("%stonechat kv CONFIG")
    outputs.until(r"bucket CONFIG \(live\).*db\.url +pg://one")
    outputs.run("%stonechat kv CONFIG db.url pg://two")
    outputs.until(r"db\.url +pg://two")
    outputs.run("%stonechat top")
    outputs.until(r"connections of .*stonechat \(in process\)")
    outputs.run("%stonechat stop")
    outputs.until(r"bucket CONFIG \(ended\)")
    names = outputs.run("import threading; print(*(one.name for one in threading.enumerate()))")
    assert "stonechat-table" not in names


def test_a_restarted_kernel_leaves_nothing(kernel: tuple[Any, Any]) -> None:
    manager, client = kernel
    outputs = Outputs(client)
    outputs.run("%load_ext stonechat\n%stonechat start\n%stonechat sub 'orders.>'\n%stonechat kv A b c")
    told = outputs.run("print(server.port, server.jsz()['config']['store_dir'], sep='|')")
    port, folder = told.strip().split("|")
    assert Path(folder).is_dir()
    manager.restart_kernel()
    client.wait_for_ready(timeout=60)
    assert not Path(folder).exists()
    assert not Path(folder).parent.exists() or not any(Path(folder).parent.glob("jetstream"))
    with socket.create_server(("127.0.0.1", int(port))):
        pass
    assert outputs.run("print('server' in globals())").strip() == "False"
