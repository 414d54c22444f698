"""Configurations get the same verdict and the same errors from `-t` of both servers."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.process import ServerProcess
from tests.support.wire import Wire

from .servers import running

if TYPE_CHECKING:
    from pathlib import Path

    from .servers import Programs


def _streams(*imports: str) -> str:
    """Returns the accounts A, B and C, which export everything and have the given imports."""
    accounts = [
        f"{name} {{ exports: [ {{stream: '>'}}, {{service: '>'}} ], imports: [ {entries} ] }}"
        for name, entries in zip("ABC", imports, strict=True)
    ]
    return "accounts {\n" + "\n".join(accounts) + "\n}"


def _stream(account: str, subject: str, more: str = "") -> str:
    return f"{{stream: {{account: {account}, subject: '{subject}'}} {more}}}"


def _service(account: str, subject: str, more: str = "") -> str:
    return f"{{service: {{account: {account}, subject: '{subject}'}} {more}}}"


def _export(entries: str) -> str:
    return f"accounts {{ A {{ exports: [ {{{entries}}} ] }} }}"


CONFIGURATIONS = {
    # Import cycles.
    "streams of each other": _streams(_stream("B", "foo"), _stream("A", "foo"), ""),
    "streams through three": _streams(_stream("B", "foo"), _stream("C", "foo"), _stream("A", "foo")),
    "streams with wildcards": _streams(_stream("B", "*"), _stream("A", "foo"), ""),
    "streams that don't meet": _streams(_stream("B", "foo"), _stream("A", "bar"), ""),
    "streams with prefixes": _streams(_stream("B", "foo", ", prefix: x"), _stream("A", "x.foo", ", to: foo"), ""),
    "streams with prefixes that part": _streams(_stream("B", "foo", ", prefix: x"), _stream("A", "y.foo"), ""),
    "streams with mappings": _streams(
        _stream("B", "foo.*", ", to: 'bar.$1'"), _stream("A", "bar.x", ", to: foo.y"), ""
    ),
    "a stream of one's own": _streams(_stream("A", "foo"), "", ""),
    "services of each other": _streams(_service("B", "foo"), _service("A", "foo"), ""),
    "services through three": _streams(_service("B", "foo"), _service("C", "foo"), _service("A", "foo")),
    "services that don't meet": _streams(_service("B", "foo"), _service("A", "bar"), ""),
    "services with wildcards": _streams(_service("B", "*"), _service("A", "*"), ""),
    "services with names of their own": _streams(
        _service("B", "foo", ", to: bar"), _service("A", "bar", ", to: foo"), ""
    ),
    "a service of one's own": _streams(_service("A", "foo", ", to: bar"), "", ""),
    "a service of one's own, by its name": _streams(_service("A", "foo"), "", ""),
    "two services of one's own": _streams(_service("A", "a", ", to: b") + ", " + _service("A", "b", ", to: c"), "", ""),
    # Directives of exports and imports.
    "response of a stream": _export("stream: a, response: stream"),
    "threshold of a stream": _export("stream: a, threshold: 1s"),
    "latency of a stream": _export("stream: a, latency: x"),
    "allow_trace of a stream": _export("stream: a, allow_trace: true"),
    "latency sampling too high": _export("service: a, latency: {sampling: 200, subject: x}"),
    "latency sampling of nothing": _export("service: a, latency: {sampling: 0, subject: x}"),
    "latency sampling in percent": _export("service: a, latency: {sampling: '50%', subject: x}"),
    "latency sampling by headers": _export("service: a, latency: {sampling: Headers, subject: x}"),
    "latency without a subject": _export("service: a, latency: {sampling: 50}"),
    "allow_trace of a service import": _streams(_service("B", "foo", ", allow_trace: true"), "", ""),
    # Traces of accounts.
    "trace destination": "accounts { A { msg_trace: 'a..b' } }",
    "trace destination with wildcard": "accounts { A { trace_dest: 'a.*' } }",
    "trace destination in a block": "accounts { A { msg_trace { dest: 'a..b' } } }",
    "trace sampling too high": "accounts { A { msg_trace { dest: a, sampling: 101 } } }",
    "trace sampling of nothing": "accounts { A { msg_trace { dest: a, sampling: 0 } } }",
    "trace sampling of a text": "accounts { A { msg_trace { dest: a, sampling: 'abc%' } } }",
    "trace sampling in percent": "accounts { A { msg_trace { dest: a, sampling: '20%' } } }",
    "trace sampling alone": "accounts { A { msg_trace { sampling: 10 } } }",
    # Types.
    "permissions of a number": "accounts { A { users: [ {user: a, pass: b, permissions: 5} ] } }",
    "users of a number": "authorization { users: 5 }",
    # Mappings.
    "mapping with too much weight": "mappings { foo: [ {dest: a, weight: 60}, {dest: b, weight: 60} ] }",
    "mapping with full weight": "mappings { foo: [ {dest: a, weight: 60}, {dest: b, weight: 40} ] }",
    "mapping twice to one": "mappings { foo: [ {dest: a, weight: 10}, {dest: a, weight: 40} ] }",
    "mapping with weights of clusters": (
        "mappings { foo: [ {dest: a, weight: 60, cluster: x}, {dest: b, weight: 60, cluster: y} ] }"
    ),
    "mapping with a function": "mappings { 'foo.*': 'bar.{{wildcard(1)}}' }",
    "mapping with an unknown function": "mappings { 'foo.*': 'bar.{{nope(1)}}' }",
    "mapping with a wildcard too many": "mappings { 'foo.*': 'bar.$2' }",
    "mapping of an account": "accounts { A { mappings { 'foo.*': [ {dest: 'bar.$2', weight: 50} ] } } }",
    # JetStream.
    "unknown cipher": "jetstream { cipher: rot13 }",
    "unknown cluster_traffic": "accounts { A { jetstream { cluster_traffic: both } } }",
    "max_concurrent_io too low": "jetstream { max_concurrent_io: 2 }",
    "max_concurrent_io too high": "jetstream { max_concurrent_io: 8193 }",
    "max_concurrent_io": "jetstream { max_concurrent_io: 64 }",
    # TLS options that need no file.
    "unknown cipher suite": "tls { cipher_suites: [NOPE] }",
    "no cipher suite": "tls { cipher_suites: [] }",
    "insecure cipher suite": "tls { cipher_suites: [TLS_RSA_WITH_RC4_128_SHA] }",
    "unknown curve": "tls { curve_preferences: [X25519, NOPE] }",
    "no curve": "tls { curve_preferences: [] }",
    "pinned certificates": "tls { pinned_certs: [ABC] }",
    "old version": "tls { min_version: '1.0' }",
    "unknown version": "tls { min_version: '2' }",
    "unknown handshake_first": "tls { First: maybe }",
    "threshold of a word": _export("service: a, threshold: abc"),
    "threshold": _export("service: a, threshold: 3s"),
    "mapping with a weight too high": "mappings { foo: [ {dest: a, weight: 200} ] }",
    "known URLs for clients": "tls { verify_cert_and_check_known_urls: true }",
    "known URLs for leaf nodes": "leafnodes { tls { verify_cert_and_check_known_urls: true } }",
    "known URLs for WebSocket": "websocket { tls { verify_cert_and_check_known_urls: true } }",
}
"""Configurations by name."""

GOES = 8
"""Largest number of runs of nats-server."""


def _test(program: Path, folder: Path) -> tuple[int, list[str]]:
    done = subprocess.run(
        [program, "-t", "-c", "c.conf"], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    text = re.sub("sha256:[0-9a-f]{64}", "DIGEST", done.stderr.replace("nats-server: ", ""))
    # Which import completes a cycle depends on the order of accounts, which is random in nats-server.
    text = re.sub('import "[^"]*": import forms', "import: import forms", text)
    # Ours also lists the features that it lacks.
    told = [
        line for line in text.splitlines() if line and not line.endswith("is not supported yet by stonechat, ignored")
    ]
    return done.returncode, sorted(told)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_verdict_is_the_same(programs: Programs, tmp_path: Path, name: str) -> None:
    """Exit code and errors are the same as in at least one of several runs of nats-server.

    nats-server reads the keys of a block in the order of a Go map, which changes with each run. For example, it only
    detects the threshold of a stream in one of two orders. Its verdict differs in one of eight runs.
    """
    (tmp_path / "c.conf").write_text(CONFIGURATIONS[name])
    got = _test(programs.ours, tmp_path)
    assert any(_test(programs.oracle, tmp_path) == got for _ in range(GOES)), (got, _test(programs.oracle, tmp_path))


AT_START = {
    "domain of two tokens": "jetstream { store_dir: js, domain: 'a.b' }",
    "domain with a wildcard": "jetstream { store_dir: js, domain: 'a*' }",
    "domain with a blank": "jetstream { store_dir: js, domain: 'a b' }",
    "client_advertise with two ports": "client_advertise: 'a:b:c'",
    "client_advertise with a word for a port": "client_advertise: 'a:b'",
}
"""Configurations that `-t` of nats-server accepts but its start refuses."""


@pytest.mark.parametrize("name", AT_START)
def test_a_start_is_refused_alike(programs: Programs, tmp_path: Path, name: str) -> None:
    """Both give the same error, on standard error or in the log."""
    (tmp_path / "c.conf").write_text(f"listen: '127.0.0.1:-1'\n{AT_START[name]}")
    said = []
    for program in programs:
        done = subprocess.run(
            [program, "-c", "c.conf"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 1
        said.append(re.sub(r"^(nats-server: |.*\[FTL\] )", "", done.stderr.strip().splitlines()[-1]))
    assert said[1] == said[0]


def test_a_service_of_ones_own(programs: Programs) -> None:
    """An account that imports its own service reaches it under the other name, as in nats-server."""
    account = "{ users: [{user: a, password: x}], exports: [ {service: foo} ], imports: [ %s ] }"
    config = f"accounts {{ A {account % _service('A', 'foo', ', to: bar')} }}"

    def play(server: ServerProcess) -> list[bytes]:
        with Wire(server.port) as service, Wire(server.port) as client:
            for wire in (service, client):
                wire.send_line(f"CONNECT {json.dumps({'verbose': False, 'user': 'a', 'pass': 'x'})}")
            service.send(b"SUB foo 1\r\n")
            client.send(b"SUB answer 1\r\n")
            seen = [*service.sync(), *client.sync()]
            client.send(b"PUB bar answer 2\r\nhi\r\n")
            client.sync()
            request = service.expect(b"MSG foo 1 ")
            reply = request.split()[3]
            service.send(b"PUB %s 2\r\nok\r\n" % reply)
            service.sync()
            answer = client.expect(b"MSG ")
            return [*(frame for frame in seen if not frame.startswith(b"INFO")), request.replace(reply, b"R"), answer]

    with running(programs, config) as two:
        theirs, ours = (play(server) for server in two)
    assert ours == theirs
