"""Restrictions in a configuration are never ignored.

Each key that restricts access is enforced as in nats-server, or prevents the start. A key that is parsed and ignored
fails these tests.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.certificates import Certificates
from tests.support.process import LOOPBACK, ServerFailedErrorError, ServerProcess
from tests.support.waiting import PATIENCE_S
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .servers import Programs

NOBODY: dict[str, Any] = {"verbose": False, "headers": True, "no_responders": True}


def _user(name: str, password: str = "x") -> dict[str, Any]:
    return {**NOBODY, "user": name, "pass": password}


class Step(NamedTuple):
    """Bytes of a client, which is connected at its first step."""

    client: str
    data: str
    connect: dict[str, Any] = NOBODY


def _play(server: ServerProcess, steps: Sequence[Step]) -> list[str]:
    """Returns the answers to each client, without INFO, the PONG of the barrier and generated ids."""
    with contextlib.ExitStack() as stack:
        clients: dict[str, Wire] = {}
        seen: list[str] = []
        for step in steps:
            if step.client not in clients:
                clients[step.client] = stack.enter_context(Wire(server.port))
                clients[step.client].send_line(f"CONNECT {json.dumps(step.connect)}")
            client = clients[step.client]
            client.send(step.data.encode() + b"PING\r\n")
            _collect(seen, step.client, client)
        for name, client in clients.items():
            client.send(b"PING\r\n")
            _collect(seen, name, client)
        return seen


def _collect(seen: list[str], name: str, client: Wire) -> None:
    for frame in client.read_until(lambda frame: frame == b"PONG\r\n"):
        text = frame.decode(errors="replace").strip()
        if not text.startswith(("INFO", "PONG", "PING")):
            seen.append(f"{name}: {text}")


def _answer(server: ServerProcess, requests: Sequence[tuple[str, Any]], user: dict[str, Any]) -> list[str]:
    """Returns the errors of requests to the JetStream API."""
    seen = []
    with Wire(server.port) as wire:
        wire.send_line(f"CONNECT {json.dumps(user)}")
        wire.send(b"SUB _INBOX.r 1\r\n")
        for subject, payload in requests:
            body = json.dumps(payload).encode()
            wire.send(b"PUB $JS.API.%s _INBOX.r %d\r\n%s\r\n" % (subject.encode(), len(body), body))
            frame = wire.read_until(lambda frame: frame.startswith((b"MSG _INBOX.r", b"HMSG _INBOX.r")))[-1]
            if frame.startswith(b"HMSG"):
                seen.append("no responders")
                continue
            answer = json.loads(frame.partition(b"\r\n")[2])
            seen.append(json.dumps(answer.get("error"), sort_keys=True))
    return seen


def _stream(name: str = "S", **more: Any) -> tuple[str, Any]:
    config = {"name": name, "subjects": [f"{name}.>"], "retention": "limits", "storage": "file", "num_replicas": 1}
    return f"STREAM.CREATE.{name}", {**config, **more}


def _consumer(name: str, **more: Any) -> tuple[str, Any]:
    config = {"durable_name": name, "ack_policy": "explicit", **more}
    return f"CONSUMER.CREATE.S.{name}", {"stream_name": "S", "config": config}


class Case(NamedTuple):
    """A key that restricts access, a configuration with it and one without, and the actions of clients."""

    key: str
    narrow: str
    wide: str
    play: Callable[[ServerProcess], Any]


def _wire(key: str, narrow: str, wide: str, *steps: Step) -> Case:
    return Case(key, narrow, wide, lambda server: _play(server, steps))


def _js(key: str, narrow: str, wide: str, *requests: tuple[str, Any], user: dict[str, Any] = NOBODY) -> Case:
    return Case(key, narrow, wide, lambda server: _answer(server, requests, user))


def _one(entries: str) -> str:
    return f"authorization {{ users: [ {{ user: a, password: x, {entries} }} ] }}"


def _account(limits: str) -> str:
    return f"accounts {{ A {{ users: [ {{user: a, password: x}} ], {limits} }} }}"


def _js_account(limits: str) -> str:
    return (
        'jetstream { store_dir: "js", max_mem: 100M, max_file: 100M }\n'
        f"accounts {{ A {{ jetstream {{ {limits} }}, users: [ {{user: a, password: x}} ] }} }}"
    )


def _js_server(entries: str) -> str:
    return f'jetstream {{ store_dir: "js", max_mem: 100M, max_file: 100M, {entries} }}'


TWO = (
    "accounts {{ A {{ users: [{{user: a, password: x}}], exports: [ {{{export}}} ] }}\n"
    "B {{ users: [{{user: b, password: x}}], imports: [ {{stream: {{account: A, subject: {subject}}}}} ] }}\n"
    "C {{ users: [{{user: c, password: x}}], imports: [ {{stream: {{account: A, subject: {subject}}}}} ] }} }}"
)

PUB = "PUB a.b 1\r\nx\r\n"
SUB = "SUB a.b 1\r\n"
A = _user("a")

CASES = [
    _wire("max_connections", "max_connections: 1", "", Step("one", ""), Step("two", "")),
    _wire("max_control_line", "max_control_line: 32", "", Step("a", f"SUB {'x' * 64} 1\r\n")),
    _wire("max_payload", "max_payload: 2", "", Step("a", "PUB a 3\r\nabc\r\n")),
    _wire("max_subscriptions", "max_subscriptions: 1", "", Step("a", "SUB a 1\r\nSUB b 2\r\n")),
    _wire("max_subscription_tokens", "max_subscription_tokens: 1", "", Step("a", SUB)),
    _wire("no_header_support", "no_header_support: true", "", Step("a", "HPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\n")),
    _wire("authorization.user", "authorization { user: a, password: x }", "", Step("a", SUB)),
    _wire("authorization.token", "authorization { token: x }", "", Step("a", SUB)),
    _wire("authorization.users", _one(""), "", Step("a", SUB, _user("b"))),
    _wire("authorization.timeout", "authorization { token: x, timeout: 0.1 }", "", Step("a", SUB)),
    _wire("permissions.publish", _one("permissions { publish: c }"), _one(""), Step("a", PUB, A)),
    _wire("permissions.publish.deny", _one("permissions { publish { deny: '*.b' } }"), _one(""), Step("a", PUB, A)),
    _wire("permissions.subscribe", _one("permissions { subscribe: c }"), _one(""), Step("a", SUB, A)),
    _wire(
        "permissions.subscribe.queue",
        _one("permissions { subscribe: 'a.b q' }"),
        _one(""),
        Step("a", "SUB a.b q 2\r\n" + SUB, A),
    ),
    _wire("permissions.subscribe.deny", _one("permissions { subscribe { deny: a.b } }"), _one(""), Step("a", SUB, A)),
    _wire(
        "permissions.allow_responses",
        _one("permissions { allow_responses: { max: 1 } }"),
        _one(""),
        Step("a", "SUB s 1\r\n", A),
        Step("b", "PUB s r.x 0\r\n\r\n", A),
        Step("a", "PUB r.x 0\r\n\r\nPUB r.x 0\r\n\r\n", A),
    ),
    _wire(
        "authorization.default_permissions",
        "authorization { default_permissions { publish: c }, users: [ {user: a, password: x} ] }",
        _one(""),
        Step("a", PUB, A),
    ),
    _wire(
        "accounts.default_permissions", _account("default_permissions { publish: c }"), _account(""), Step("a", PUB, A)
    ),
    _wire("users.allowed_connection_types", _one("allowed_connection_types: [WEBSOCKET]"), _one(""), Step("a", SUB, A)),
    _wire("users.proxy_required", _one("proxy_required: true"), _one(""), Step("a", SUB, A)),
    _wire(
        "authorization.proxy_required",
        "authorization { proxy_required: true, user: a, password: x }",
        "authorization { user: a, password: x }",
        Step("a", SUB, A),
    ),
    _wire("accounts", _account(""), "", Step("a", SUB)),
    _wire(
        "accounts.limits.max_connections",
        _account("limits { max_conn: 1 }"),
        _account(""),
        Step("1", "", A),
        Step("2", "", A),
    ),
    _wire(
        "accounts.limits.max_subscriptions",
        _account("limits { max_subs: 1 }"),
        _account(""),
        Step("a", "SUB a 1\r\nSUB b 2\r\n", A),
    ),
    _wire(
        "accounts.limits.max_payload",
        _account("limits { max_payload: 2 }"),
        _account(""),
        Step("a", "PUB a 3\r\nabc\r\n", A),
    ),
    _wire(
        "exports.account_token_position",
        TWO.format(export="stream: 'a.*', account_token_position: 2", subject="a.B"),
        TWO.format(export="stream: 'a.*'", subject="a.B"),
        Step("c", "SUB a.B 1\r\n", _user("c")),
        Step("a", "PUB a.B 1\r\nx\r\n", A),
    ),
    _js("jetstream", "", 'jetstream { store_dir: "js" }', ("INFO", {}), ("STREAM.NAMES", {})),
    _js(
        "jetstream.max_file",
        _js_server("").replace("max_file: 100M", "max_file: 1M"),
        _js_server(""),
        _stream(max_bytes=2_000_000),
    ),
    _js(
        "jetstream.max_mem",
        _js_server("").replace("max_mem: 100M", "max_mem: 1M"),
        _js_server(""),
        _stream(max_bytes=2_000_000, storage="memory"),
    ),
    _js(
        "jetstream.limits.duplicate_window",
        _js_server("limits { duplicate_window: 1s }"),
        _js_server(""),
        _stream(duplicate_window=2_000_000_000),
    ),
    _js(
        "jetstream.limits.default_max_consumers",
        _js_server("limits { default_max_consumers: 1 }"),
        _js_server(""),
        _stream(),
        _consumer("one"),
        _consumer("two"),
    ),
    _js(
        "jetstream.limits.max_ack_pending",
        _js_server("limits { max_ack_pending: 5 }"),
        _js_server(""),
        _stream(),
        _consumer("one", max_ack_pending=6),
    ),
    _js(
        "jetstream.limits.max_request_batch",
        _js_server("limits { max_request_batch: 5 }"),
        _js_server(""),
        _stream(),
        _consumer("one", max_batch=6),
    ),
    _js(
        "accounts.jetstream.max_memory",
        _js_account("max_mem: 1"),
        _js_account(""),
        _stream(max_bytes=2, storage="memory"),
        user=A,
    ),
    _js("accounts.jetstream.max_store", _js_account("max_file: 1"), _js_account(""), _stream(max_bytes=2), user=A),
    _js(
        "accounts.jetstream.max_streams",
        _js_account("max_streams: 1"),
        _js_account(""),
        _stream("S"),
        _stream("T"),
        user=A,
    ),
    _js(
        "accounts.jetstream.max_consumers",
        _js_account("max_consumers: 1"),
        _js_account(""),
        _stream(),
        _consumer("one"),
        _consumer("two"),
        user=A,
    ),
    _js(
        "accounts.jetstream.max_bytes_required",
        _js_account("max_bytes_required: true"),
        _js_account(""),
        _stream(),
        user=A,
    ),
    _js(
        "accounts.jetstream.memory_max_stream_bytes",
        _js_account("memory_max_stream_bytes: 10"),
        _js_account(""),
        _stream(max_bytes=20, storage="memory"),
        user=A,
    ),
    _js(
        "accounts.jetstream.store_max_stream_bytes",
        _js_account("store_max_stream_bytes: 10"),
        _js_account(""),
        _stream(max_bytes=20),
        user=A,
    ),
    _js(
        "accounts.jetstream.max_ack_pending",
        _js_account("max_ack_pending: 5"),
        _js_account(""),
        _stream(),
        _consumer("one", max_ack_pending=6),
        user=A,
    ),
]
"""All keys that restrict clients, except for those of `tls`."""


def _result(program: Path, config: str, play: Callable[[ServerProcess], Any]) -> tuple[Any, str]:
    """Returns the result of the clients, or the reason why the server did not start."""
    try:
        with ServerProcess(program, config) as server:
            return play(server), ""
    except ServerFailedErrorError as failure:
        return None, str(failure)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_what_narrows_access_is_not_ignored(programs: Programs, case: Case) -> None:
    """The real server refuses with the key what it allows without it; ours does the same, or does not start."""
    allowed = _result(programs.oracle, case.wide, case.play)
    forbidden = _result(programs.oracle, case.narrow, case.play)
    assert forbidden != allowed, "the key changes nothing"
    ours, refusal = _result(programs.ours, case.narrow, case.play)
    if refusal and not forbidden[1]:
        assert "is not supported yet by stonechat; a server without it would allow more" in refusal
    else:
        assert (ours, bool(refusal)) == (forbidden[0], bool(forbidden[1]))


def _handshake(server: ServerProcess, context: ssl.SSLContext, *, plain: bool) -> str:
    """Returns "in" if the server accepts a client, else "out"."""
    with socket.create_connection((LOOPBACK, server.port), timeout=PATIENCE_S) as sock:
        line = b""
        while not line.endswith(b"\n"):
            line += sock.recv(1)
        wrapped: socket.socket = sock
        try:
            if not plain:
                wrapped = context.wrap_socket(sock, server_hostname=LOOPBACK)
            wrapped.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
            return "in" if wrapped.recv(100).startswith(b"PONG") else "out"
        except OSError:
            return "out"
        finally:
            wrapped.close()


class TlsCase(NamedTuple):
    """A key of the `tls` block, and a client that it excludes."""

    key: str
    entry: str
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: str = ""
    curve: str = ""
    times: int = 1
    with_certificate: bool = False
    plain: bool = False


TLS_CASES = [
    TlsCase("tls", "", plain=True),
    TlsCase("verify", "verify: true, ca_file: CA"),
    TlsCase("min_version", "min_version: '1.3'", newest=ssl.TLSVersion.TLSv1_2),
    TlsCase(
        "cipher_suites",
        "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]",
        newest=ssl.TLSVersion.TLSv1_2,
        ciphers="ECDHE+AES256",
    ),
    TlsCase("cipher_suites of TLS 1.3 alone", "cipher_suites: [TLS_AES_128_GCM_SHA256]", newest=ssl.TLSVersion.TLSv1_2),
    TlsCase("curve_preferences", "curve_preferences: [CurveP384]", curve="prime256v1"),
    TlsCase("pinned_certs", f"verify: true, ca_file: CA, pinned_certs: [{'a' * 64}]", with_certificate=True),
    TlsCase("connection_rate_limit", "connection_rate_limit: 1", times=4),
    TlsCase("verify_and_map", "verify_and_map: true, ca_file: CA"),
]


@pytest.mark.parametrize("case", TLS_CASES, ids=lambda case: case.key)
def test_what_narrows_tls_is_not_ignored(programs: Programs, tmp_path: Path, case: TlsCase) -> None:
    """A client that the real server refuses because of the key is refused by ours too, or ours does not start."""
    certificates = Certificates(tmp_path)
    context = certificates.context(client_certificate=case.with_certificate)
    context.maximum_version = case.newest
    if case.ciphers:
        context.set_ciphers(case.ciphers)
    if case.curve:
        context.set_ecdh_curve(case.curve)

    def attempt(program: Path, entry: str) -> tuple[Any, str]:
        entry = entry.replace("CA", f'"{certificates.authority_file}"')
        config = certificates.block(entry)
        return _result(
            program, config, lambda server: {_handshake(server, context, plain=case.plain) for _ in range(case.times)}
        )

    if not case.plain:
        assert attempt(programs.oracle, "timeout: 2") == ({"in"}, "")
    assert "out" in attempt(programs.oracle, case.entry)[0]
    ours, refusal = attempt(programs.ours, case.entry)
    if refusal:
        assert f"tls.{case.key} is not supported yet by stonechat; a server without it" in refusal
    else:
        assert "out" in ours


NKEY = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
OPERATOR = "OB73GFNSPIAUSMPXVA777BQ5NMHLHOYZPSIGVLX3NN7XAOAZJVUHOY2A"

REFUSED = {
    "proxy_protocol": "proxy_protocol: true",
    "ocsp.mode": "ocsp { mode: must }",
    "tls.ocsp_peer": "tls { cert_file: c, key_file: k, ocsp_peer: true }",
    "tls.cert_store": "tls { cert_store: WindowsCurrentUser }",
    "https": "https: 18443",
    "https_port": "https_port: 18443",
    "operator": "operator: x.jwt",
    "resolver": "resolver: MEMORY",
    "resolver_tls": "resolver_tls { ca_file: x }",
    "resolver_preload": "resolver_preload { A: x }",
    "resolver_pinned_accounts": "resolver_pinned_accounts: [A]",
    "proxies": "proxies { trusted: [] }",
    "authorization.auth_callout": "authorization { auth_callout { issuer: A, auth_users: [] } }",
    "authorization.users.nkey": f"authorization {{ users: [ {{nkey: {NKEY}}} ] }}",
    "jetstream.tpm": "jetstream { tpm { keys_file: x } }",
    "jetstream.limits.batch": "jetstream { limits { batch { max_msgs: 2 } } }",
}
"""Restrictions that need more than two servers to be tested; all of them prevent the start."""


def _command(program: Path, config: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    (folder / "c.conf").write_text(config + "\nlisten: '127.0.0.1:-1'\n")
    return subprocess.run(
        [program, "-c", "c.conf", *flags], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("key", REFUSED)
@pytest.mark.parametrize("flags", [[], ["-t"], ["--allow_unsupported"]], ids=["start", "-t", "allow"])
def test_restrictions_that_are_missing_stop_the_start(
    programs: Programs, tmp_path: Path, key: str, flags: list[str]
) -> None:
    """The error names the key and its place, even with `--allow_unsupported`."""
    result = _command(programs.ours, REFUSED[key], tmp_path, *flags)
    assert result.returncode == 1
    assert f": {key} is not supported yet by stonechat; a server without it would allow more" in result.stderr
    assert "nats-server: c.conf:1:" in result.stderr


BLOCKS = {
    "cluster": "cluster { name: c, listen: '127.0.0.1:-1' }",
    "gateway": "gateway { name: g, listen: '127.0.0.1:-1' }",
    "leafnodes": "leafnodes { listen: '127.0.0.1:-1' }",
    "websocket": "websocket { listen: '127.0.0.1:-1', no_tls: true }",
    "mqtt": "mqtt { listen: '127.0.0.1:-1' }",
}
"""Blocks that ours lacks. Remove a block from this list when it is implemented."""


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("flags", [[], ["-t"]], ids=["start", "-t"])
def test_a_block_that_is_missing_stops_the_start(
    programs: Programs, tmp_path: Path, block: str, flags: list[str]
) -> None:
    """A missing block prevents the start; for example, three servers of a cluster must not run as three brokers."""
    result = _command(programs.ours, BLOCKS[block], tmp_path, *flags)
    assert result.returncode == 1
    told = f"c.conf:1:0: {block} is not supported yet by stonechat; to start without it, set allow_unsupported: true"
    assert told in result.stderr


def test_missing_blocks_can_be_allowed(programs: Programs, tmp_path: Path) -> None:
    """With `allow_unsupported` the server starts without the missing blocks and logs them; `-t` lists them too."""
    every = "\n".join(BLOCKS.values())
    told = [f"{block} is not supported yet by stonechat, ignored" for block in BLOCKS]
    for config, flag in [(every + "\nallow_unsupported: true", "-t"), (every, "--allow_unsupported")]:
        with ServerProcess(programs.ours, config, args=[flag] if flag != "-t" else []) as server:
            for line in told:
                server.wait_for_log(line)
    result = _command(programs.ours, every + "\nallow_unsupported: true", tmp_path, "-t")
    assert result.returncode == 0
    assert "is valid" in result.stderr
    for line in told:
        assert line in result.stderr


@pytest.mark.parametrize(
    "flags",
    [["--cluster", "nats://127.0.0.1:-1"], ["--cluster", "nats://127.0.0.1:-1", "--routes", "nats://127.0.0.1:1"]],
    ids=len,
)
def test_flags_that_open_a_missing_block_stop_the_start(programs: Programs, tmp_path: Path, flags: list[str]) -> None:
    """Flags that enable a missing block prevent the start, like the block in a file."""
    result = _command(programs.ours, "", tmp_path, *flags)
    assert result.returncode == 1
    for flag in flags[::2]:
        assert f"{flag} is not supported yet by stonechat; to start without it" in result.stderr
