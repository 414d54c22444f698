"""Reloads: the log lines of each change, compared with the real server; a refused reload changes nothing."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.process import LOOPBACK, ServerProcess
from tests.support.wire import Wire

from .servers import Programs, running

if TYPE_CHECKING:
    from pathlib import Path

USERS = "authorization {{ {} users: [ {{user: a, password: x{}}}, {{user: b, password: x}} ] }}"
ACCOUNT = "accounts {{ A {{ users: [ {{user: a, password: x}} ] {} }} }}"
JETSTREAM = "jetstream {{ store_dir: js, max_mem: {}, max_file: 10M {} }}"

CASES = {
    "debug": ("", "debug: true"),
    "trace_headers": ("", "trace_headers: true"),
    "logtime": ("", "logtime: false"),
    "max_payload": ("", "max_payload: 1k"),
    "max_connections": ("", "max_connections: 5"),
    "max_control_line": ("", "max_control_line: 512"),
    "max_pending": ("", "max_pending: 2MB"),
    "max_subscriptions": ("", "max_subscriptions: 5"),
    "ping_interval": ("", "ping_interval: 5s"),
    "ping_max": ("", "ping_max: 5"),
    "write_deadline": ("", "write_deadline: 5s"),
    "write_timeout": ("", "write_timeout: retry"),
    "lame_duck_duration": ("", "lame_duck_duration: 60s"),
    "server_tags": ("", "server_tags: [a]"),
    "server_metadata": ("", "server_metadata { a: b }"),
    "feature_flags": ("", "feature_flags { js_ack_fc_v2: true }"),
    "no_fast_producer_stall": ("", "no_fast_producer_stall: true"),
    "no_header_support": ("", "no_header_support: true"),
    "max_traced_msg_len": ("", "max_traced_msg_len: 5"),
    "pid_file": ("", "pid_file: pidx"),
    "connect_error_reports": ("", "connect_error_reports: 5"),
    "user": ("", "authorization { user: a, password: b }"),
    "token": ("authorization { token: a }", "authorization { token: b }"),
    "users": (USERS.format("", ""), USERS.format("", ", permissions: {publish: x}")),
    "auth timeout": (USERS.format("", ""), USERS.format("timeout: 3,", "")),
    "no_auth_user": (USERS.format("", ""), USERS.format("", "") + "\nno_auth_user: a"),
    "account": ("", ACCOUNT.format("")),
    "exports": (ACCOUNT.format(""), ACCOUNT.format(", exports: [ {stream: x} ]")),
    "http_base_path": ("", "http_base_path: /x"),
    "server_name": ("server_name: s", "server_name: t"),
    "proxy_protocol": ("", "proxy_protocol: true"),
    "jetstream less": (JETSTREAM.format("2M", ""), JETSTREAM.format("1M", "")),
    "jetstream store_dir": (JETSTREAM.format("2M", ""), JETSTREAM.format("2M", "").replace("js,", "other,")),
    "jetstream sync": (JETSTREAM.format("2M", ""), JETSTREAM.format("2M", ", sync_interval: 5s")),
    "jetstream on": ("", JETSTREAM.format("2M", "")),
    "jetstream off": (JETSTREAM.format("2M", ""), ""),
    "unknown": ("", "nope: 1"),
}
"""Changes of the configuration, which both servers must accept or refuse with the same log lines."""

ALWAYS_THERE = {"Reloaded: authorization users", "Reloaded: accounts"}
"""Lines that nats-server logs at every reload, and ours only if they are true."""


def _reload(server: ServerProcess, config: str) -> list[str]:
    """Reloads and returns the log lines of the reload."""
    server.write_config(config)
    before = len(server.log().splitlines())
    server.signal(signal.SIGHUP)

    def fresh() -> list[str]:
        return server.log().splitlines()[before:]

    wanted = re.compile("Reloaded server configuration|Failed to reload")
    while not any(wanted.search(line) for line in fresh()):
        assert server.running, server.log()
    told = [re.sub(r"^.*?\[(INF|ERR|WRN)\] ", "", line) for line in fresh()]
    told = [re.sub(r"sha256:\w+", "DIGEST", line.replace(str(server.config_path), "FILE")) for line in told]
    return [line for line in told if line.startswith(("Reloaded", "Failed"))]


@pytest.mark.parametrize("name", CASES)
def test_what_a_reload_says(programs: Programs, name: str) -> None:
    """Each changed option is named, and those that need a restart are refused."""
    old, new = CASES[name]
    with running(programs, old) as two:
        theirs, ours = (_reload(server, new) for server in two)
    if missing := ALWAYS_THERE - set(ours):
        theirs = [line for line in theirs if line not in missing]
    assert ours == theirs


SAID = "debug: true\nserver_tags: [new]\nmax_payload: 100\nserver_metadata { a: new }\n"
HINDRANCES = {
    "store": ("", "jetstream { store_dir: a_file }"),
    "log": ("", "log_file: a_file/x.log"),
    "tls": ("", "tls { cert_file: missing.pem, key_file: missing.pem }"),
    "fixed": ("", "max_pending: 2MB"),
    "invalid": ("", "no_auth_user: nobody"),
    "unsupported": ("", "accounts { A { limits { max_conn: 1 } } }"),
    "block": ("", "cluster { port: -1 }"),
    "store and log": ("jetstream { store_dir: js }", "jetstream: off\nlog_file: a_file/x.log"),
}
"""Changes that make a reload fail, at different steps."""


@pytest.mark.parametrize("name", HINDRANCES)
def test_a_refused_reload_changes_nothing(programs: Programs, name: str) -> None:
    """A refused configuration changes neither options, nor the log, nor monitoring."""
    old, hindrance = HINDRANCES[name]
    with ServerProcess(programs.ours, old) as server:
        (server.directory / "a_file").write_text("no directory")
        before = server.get_json("/varz")
        said = _reload(server, SAID + hindrance)
        assert len(said) == 1
        assert said[0].startswith("Failed to reload server configuration")
        after = server.get_json("/varz")
        for field in ("tags", "metadata", "max_payload", "config_digest", "config_load_time", "jetstream"):
            assert after.get(field) == before.get(field), field
        with Wire(server.port) as wire:
            wire.send(b"CONNECT {}\r\n")
            wire.sync()
        assert "[DBG]" not in server.log()
        assert server.get("/healthz")[0] == 200
        # The next valid configuration is applied completely.
        assert _reload(server, old + "\n" + SAID)[-1].startswith("Reloaded server configuration")
        assert server.get_json("/varz")["tags"] == ["new"]


def test_files_follow_a_reload(programs: Programs, tmp_path: Path) -> None:
    """The pid file is written at the path of the new configuration; a missing directory is only logged."""
    path = tmp_path / "new.pid"
    with ServerProcess(programs.ours, f"pid_file: '{tmp_path}/old.pid'") as server:
        assert (tmp_path / "old.pid").exists()
        _reload(server, f"pid_file: '{path}'")
        assert path.read_text() == str(server.pid)
        assert not (tmp_path / "old.pid").exists()
        said = _reload(server, f"pid_file: '{tmp_path}/missing/new.pid'")
        assert said[-1].startswith("Reloaded server configuration")
        assert "Could not write pidfile" in server.log()
        with Wire(server.port, LOOPBACK) as wire:
            wire.send(b"CONNECT {}\r\n")
            wire.sync()
