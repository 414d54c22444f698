"""Configurations as text and as files, and options that override them."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import pytest

from stonechat import (
    ConfigError,
    ConfigFileNotFoundError,
    ListenError,
    NotSupportedError,
    PortInUseError,
    ReloadError,
    Server,
    ServerError,
)
from stonechat.options import _looks_like_path
from tests.python.raw_client import RawClient


def test_a_text() -> None:
    with Server("max_payload: 2KB\nserver_name: from-text") as server:
        assert server.varz()["max_payload"] == 2048
        assert server.name == "from-text"


@pytest.mark.parametrize("as_text", [True, False])
def test_a_file(tmp_path: Path, *, as_text: bool) -> None:
    path = tmp_path / "nats.conf"
    path.write_text("include 'more.conf'\nmax_control_line: 2048\n")
    (tmp_path / "more.conf").write_text("server_name: included\n")
    with Server(str(path) if as_text else path) as server:
        assert server.name == "included"
        assert server.varz()["max_control_line"] == 2048


def test_a_configuration_without_an_address_stays_on_loopback_and_any_port() -> None:
    with Server("max_payload: 100") as server:
        assert server.host == "127.0.0.1"
        assert server.port != 4222


@pytest.mark.parametrize("form", ["host: 127.0.0.1\nport: {}", "listen: '127.0.0.1:{}'", "PORT: {}", "listen: {}"])
@pytest.mark.parametrize("in_file", [True, False])
def test_the_address_of_the_configuration_counts(tmp_path: Path, form: str, *, in_file: bool) -> None:
    with Server() as server:
        port = server.port
    path = tmp_path / "nats.conf"
    path.write_text(form.format(port))
    with Server(path if in_file else path.read_text()) as server:
        assert server.varz()["host"] == "127.0.0.1"
        assert server.port == port


def test_a_file_without_an_address_stays_on_loopback_and_any_port(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    path.write_text("max_payload: 100")
    with Server(path) as server:
        assert server.varz()["host"] == "127.0.0.1"
        assert server.port != 4222


def test_a_file_may_open_the_server_to_the_world(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    path.write_text("host: 0.0.0.0")
    with Server(path) as server:
        assert server.varz()["host"] == "0.0.0.0"
        assert server.host == "127.0.0.1"


def test_options_win_over_the_configuration() -> None:
    with Server("port: 4222\nserver_name: a\nmax_payload: 100", port=0, server_name="b") as server:
        assert server.port != 4222
        assert server.name == "b"
        assert server.varz()["max_payload"] == 100


def test_permissions_come_from_the_configuration() -> None:
    config = 'authorization { users: [{user: joe, password: x, permissions: {publish: "ok.>"}}] }'
    with Server(config) as server, RawClient(server.url, user="joe", **{"pass": "x"}) as client:
        client.publish("ok.1", "")
        client.ping()
        client.publish("no", "")
        assert client.line() == "-ERR 'Permissions Violation for Publish to \"no\"'"


def test_a_mistake_in_a_file_has_its_place(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    path.write_text("port: 0\nmax_payload: {\n")
    with pytest.raises(ConfigError) as caught:
        Server(path).start()
    assert caught.value.file == str(path)
    assert caught.value.line is not None
    assert caught.value.column is not None
    assert str(path) in str(caught.value)


def test_a_wrong_value_has_its_place(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    path.write_text("server_name: ok\nmax_payload: many\n")
    with pytest.raises(ConfigError) as caught:
        Server(path).start()
    assert (caught.value.file, caught.value.line) == (str(path), 2)


def test_a_mistake_in_a_text_has_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        Server("server_name: ok\nmax_payload: many\n").start()
    assert caught.value.line == 2
    assert "max_payload: expected an integer, found a string" in str(caught.value)


def test_an_unknown_field_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="max_paylode"):
        Server("max_paylode: 100").start()


@pytest.mark.parametrize("name", ["missing.conf", "missing"])
def test_a_missing_file(name: str) -> None:
    with pytest.raises(ConfigFileNotFoundError, match=name) as caught:
        Server(name).start()
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, ConfigError)
    assert (caught.value.errno, caught.value.filename, caught.value.file) == (errno.ENOENT, name, name)


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileNotFoundError):
        Server(tmp_path / "no.conf").start()


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=tmp_path.name):
        Server(tmp_path).start()


def test_a_server_can_start_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "late.conf"
    server = Server(path)
    with pytest.raises(ConfigFileNotFoundError):
        server.start()
    path.write_text("server_name: late")
    with server:
        assert server.name == "late"


@pytest.mark.parametrize(
    ("config", "is_path"),
    [
        ("nats.conf", True),
        ("/etc/nats/nats", True),
        ("a folder/nats.conf", True),
        ("C:\\nats.conf", True),
        ("", False),
        ("port: 4222", False),
        ("port:4222", False),
        ("port 4222", False),
        ("port=4222", False),
        ("cluster {}", False),
        ("a: 1\nb.conf", False),
    ],
)
def test_texts_and_paths_are_told_apart(config: str, *, is_path: bool) -> None:
    assert _looks_like_path(config) is is_path


def test_reload_applies_the_file(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    path.write_text("max_payload: 100")
    with Server(path) as server:
        path.write_text("max_payload: 200")
        server.reload()
        with RawClient(server.url) as client:
            assert client.info["max_payload"] == 200
        path.write_text("max_payload: {")
        with pytest.raises(ReloadError):
            server.reload()
        with RawClient(server.url) as client:
            assert client.info["max_payload"] == 200


def test_options_win_over_a_reloaded_file(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    path.write_text("port: 4222\nserver_name: a\nmax_control_line: 1000")
    with Server(path, port=0, server_name="b", token="t") as server:
        path.write_text("port: 4333\nserver_name: c\nmax_control_line: 2000")
        server.reload()
        with RawClient(server.url, auth_token="t") as client:
            assert client.info["server_name"] == "b"
        assert server.varz()["max_control_line"] == 2000


def test_a_reload_that_would_lose_an_option_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    path.write_text("max_payload: 100")
    with Server(path, max_payload=50) as server:
        path.write_text("max_payload: 200")
        with pytest.raises(ReloadError, match="max_payload"):
            server.reload()
        assert server.varz()["max_payload"] == 50


def test_reload_needs_a_file() -> None:
    with Server() as server, pytest.raises(ReloadError, match="file"):
        server.reload()


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(ListenError) as caught:
        Server(host="192.0.2.1").start()
    assert caught.value.errno == errno.EADDRNOTAVAIL
    assert caught.value.host == "192.0.2.1"
    assert not isinstance(caught.value, PortInUseError)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="addresses in use are numbered otherwise on Windows")
def test_a_port_in_use_is_an_os_error() -> None:
    with Server() as server, pytest.raises(OSError, match="in use") as caught:
        Server(port=server.port).start()
    assert caught.value.errno == errno.EADDRINUSE


def test_keys_in_a_tpm_are_refused_clearly() -> None:
    with pytest.raises(NotSupportedError, match="not supported yet") as caught:
        Server("jetstream { tpm { keys_file: x } }").start()
    assert isinstance(caught.value, NotImplementedError)
    assert isinstance(caught.value, ServerError)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": 65536}, "port must be between 0 and 65535, not 65536"),
        ({"port": -2}, "port must be"),
        ({"monitor_port": 70000}, "monitor_port must be"),
        ({"max_payload": 0}, "max_payload must be"),
        ({"max_payload": 2**31}, "max_payload must be"),
        ({"ping_interval": -1}, "ping_interval must be"),
        ({"write_deadline": float("nan")}, "write_deadline must be"),
        ({"auth_timeout": float("inf")}, "auth_timeout must be"),
    ],
)
def test_values_out_of_range(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Server(**options)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "options",
    [
        {"port": "4222"},
        {"port": True},
        {"host": 1},
        {"debug": "yes"},
        {"max_payload": 1.5},
        {"ping_interval": "2s"},
        {"config": 7},
    ],
)
def test_values_of_a_wrong_type(options: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        Server(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        ServerError("x"),
        ConfigError("x", "f", 1, 2),
        ConfigFileNotFoundError("x", "f"),
        PortInUseError("x", errno.EADDRINUSE, "h", 1),
        ListenError("x", None, "h", 1),
    ],
)
def test_errors_can_be_pickled(error: ServerError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == "x"
    assert copy.__dict__ == error.__dict__
