"""Fixtures that give each test a NATS server, in the process of the test.

pytest loads the plugin in every run of an environment that has this package. The server is only imported when a
fixture needs it.
"""

from __future__ import annotations

import logging
import re
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from typing_extensions import Unpack

    from stonechat import Bucket, LogLine, ObjectStore, Server, ServerOptions, Stream

__all__ = ["ServerFactory", "client_fixture", "server_fixture"]

_SHARED_FIXTURES = ("nats_server_module", "nats_server_session")
_NEED_JETSTREAM = {"nats_js", "nats_kv", "nats_object_store", "nats_stream"}
_LOG_LINES = 100


class ServerFactory(Protocol):
    """Type of the fixture `nats_server_factory`."""

    def __call__(self, **options: Unpack[ServerOptions]) -> Server:
        """Start a server with these options, which override `nats_server_options`."""


class _Used(NamedTuple):
    """A server that a test uses, and the log lines from before the test."""

    server: Server
    label: str
    seen: tuple[LogLine, ...] = ()


_used_key = pytest.StashKey[list[_Used]]()
_shared_key = pytest.StashKey[dict[str, "Server"]]()
_began_key = pytest.StashKey[float]()
_accounts_key = pytest.StashKey[dict[int, "Iterator[str]"]]()

# Options


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the command line and of the pytest configuration."""
    group = parser.getgroup("stonechat", "NATS servers for tests (stonechat)")
    group.addoption("--nats-config", metavar="FILE", help="configuration file of the servers that fixtures start")
    group.addoption("--nats-host", metavar="HOST", help="address that they bind (default: 127.0.0.1)")
    group.addoption("--nats-port", metavar="PORT", type=int, help="port of the server, instead of any free one")
    group.addoption("--nats-monitor-port", metavar="PORT", type=int, help="port for monitoring (0: any free one)")
    group.addoption("--nats-debug", action="store_true", default=None, help="log debug messages")
    group.addoption("--nats-trace", action="store_true", default=None, help="log the protocol")
    group.addoption("--nats-log-lines", metavar="N", type=int, help="log lines in the report of a failed test")
    group.addoption("--nats-no-timeline", action="store_true", help="do not record messages for reports")
    parser.addini("nats_config", "configuration file of the servers that fixtures start, below the root directory")
    parser.addini("nats_host", "address that the servers of fixtures bind (default: 127.0.0.1)")
    parser.addini("nats_debug", "servers of fixtures log debug messages", type="bool", default=False)
    parser.addini("nats_trace", "servers of fixtures log the protocol", type="bool", default=False)
    parser.addini("nats_timeline", "record messages for the reports of failed tests", type="bool", default=True)
    parser.addini(
        "nats_accounts",
        "test: on shared servers each test has an account of its own (default); shared: all tests have one",
        default="test",
    )
    parser.addini("nats_log_lines", f"log lines in the report of a failed test (default: {_LOG_LINES}, 0: none)")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and the fixtures for pytest-asyncio if it is installed."""
    config.addinivalue_line(
        "markers",
        "nats_server(**options): options of the servers that nats_server and nats_server_factory start for this test",
    )
    for name, what in (("nats_kv", "bucket"), ("nats_object_store", "object store"), ("nats_stream", "stream")):
        config.addinivalue_line("markers", f"{name}(**options): options of the {what} that the fixture {name} makes")
    config.stash[_shared_key] = {}
    config.stash[_accounts_key] = {}
    if (accounts := config.getini("nats_accounts")) not in ("test", "shared"):
        raise pytest.UsageError(f"nats_accounts must be test or shared, not {accounts!r}")
    parallel = hasattr(config, "workerinput") or bool(config.getoption("numprocesses", None))
    if parallel and config.getoption("nats_port"):
        raise pytest.UsageError("--nats-port can't be used with several pytest-xdist workers: they would share a port")
    if config.pluginmanager.hasplugin("asyncio"):
        from stonechat import _pytest_asyncio

        config.pluginmanager.register(_pytest_asyncio, "stonechat-asyncio")


def _configured_options(config: pytest.Config) -> ServerOptions:
    """Return the options of the command line and the pytest configuration; the command line overrides."""
    options: ServerOptions = {}
    if given := config.getoption("nats_config"):
        options["config"] = config.invocation_params.dir / given
    elif in_ini := config.getini("nats_config"):
        options["config"] = config.rootpath / in_ini
    if host := config.getoption("nats_host") or config.getini("nats_host"):
        options["host"] = host
    if (port := config.getoption("nats_port")) is not None:
        options["port"] = port
    elif "config" in options:
        # Tests may run in parallel, so the port in the file is not used.
        options["port"] = 0
    if (monitor_port := config.getoption("nats_monitor_port")) is not None:
        options["monitor_port"] = monitor_port
    if config.getoption("nats_debug") or config.getini("nats_debug"):
        options["debug"] = True
    if config.getoption("nats_trace") or config.getini("nats_trace"):
        options["trace"] = True
    if config.getini("nats_timeline") and not config.getoption("nats_no_timeline"):
        options["record"] = True
    return options


def _log_lines(config: pytest.Config) -> int:
    given = config.getoption("nats_log_lines")
    return int(config.getini("nats_log_lines") or _LOG_LINES) if given is None else int(given)


# Fixtures


@pytest.fixture(scope="session")
def nats_server_options(pytestconfig: pytest.Config) -> ServerOptions:
    """Options of all servers that fixtures start. Override this fixture in `conftest.py` to set your own.

    By default they come from the command line and the pytest configuration. An overriding fixture can extend them:
    `return {**nats_server_options, "max_payload": 1024}`.
    """
    return _configured_options(pytestconfig)


@pytest.fixture
def nats_server_factory(request: pytest.FixtureRequest, nats_server_options: ServerOptions) -> Iterator[ServerFactory]:
    """A function that starts servers with the given options; they are stopped after the test.

    The given options override those of the marker `nats_server`, which override `nats_server_options`.
    """
    from stonechat import Server

    started: list[Server] = []
    implied: ServerOptions = {"jetstream": True} if _NEED_JETSTREAM & set(request.fixturenames) else {}
    marked: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("nats_server"))):
        marked.update(marker.kwargs)

    def start(**options: Unpack[ServerOptions]) -> Server:
        server = Server(**{**implied, **nats_server_options, **marked, **options})
        server.start()
        started.append(server)
        label = "nats_server" if len(started) == 1 else f"nats_server {len(started)}"
        request.node.stash.setdefault(_used_key, []).append(_Used(server, label))
        return server

    yield start
    for server in reversed(started):
        server.stop()


@pytest.fixture
def nats_server(nats_server_factory: ServerFactory) -> Server:
    """A server for this test only."""
    return nats_server_factory()


@pytest.fixture(scope="module")
def nats_server_module(request: pytest.FixtureRequest, nats_server_options: ServerOptions) -> Iterator[Server]:
    """One server for all tests of the module."""
    yield from _shared_server(request, nats_server_options)


@pytest.fixture(scope="session")
def nats_server_session(request: pytest.FixtureRequest, nats_server_options: ServerOptions) -> Iterator[Server]:
    """One server for all tests; with pytest-xdist, one per worker."""
    yield from _shared_server(request, nats_server_options)


def _shared_server(request: pytest.FixtureRequest, options: ServerOptions) -> Iterator[Server]:
    from stonechat import Server

    names: list[str] = []
    if request.config.getini("nats_accounts") == "test" and not any(name in options for name in _OWN_LOGIN):
        names = _account_names(request)
        options = {**options, "config": _accounts_config(names, jetstream=bool(options.get("jetstream")))}
    server = Server(**options)
    accounts = request.config.stash[_accounts_key]
    if names:
        accounts[id(server)] = iter(names)
    try:
        yield from _running(request, server)
    finally:
        accounts.pop(id(server), None)


def _running(request: pytest.FixtureRequest, server: Server) -> Iterator[Server]:
    """Run a server, and register it under the name of its fixture for the reports of failed tests."""
    name = str(request.fixturename)
    with server:
        if request.scope == "function":
            request.node.stash.setdefault(_used_key, []).append(_Used(server, name))
            yield server
            return
        shared = request.config.stash[_shared_key]
        shared[name] = server
        try:
            yield server
        finally:
            del shared[name]


# Accounts of tests on shared servers

_OWN_LOGIN = ("config", "user", "token", "users")
"""Options that define users or accounts. If one of them is set, a shared server has no accounts per test."""


def _account_names(request: pytest.FixtureRequest) -> list[str]:
    """Return account names: two for each test that uses the server, for repeated tests, and 16 more."""
    users = sum(str(request.fixturename) in getattr(item, "fixturenames", ()) for item in request.session.items)
    return [f"test-{number}" for number in range(1, 2 * users + 17)]


def _accounts_config(names: list[str], *, jetstream: bool) -> str:
    """Return a configuration with these accounts, each with a user of its name. The default account is `shared`."""
    on = "jetstream: enabled, " if jetstream else ""
    accounts = "\n".join(
        f'  "{name}": {{{on}users: [{{user: "{name}", password: "{name}"}}]}}' for name in ("shared", *names)
    )
    return f"accounts {{\n{accounts}\n}}\nno_auth_user: shared\n"


@pytest.fixture
def _nats_login(request: pytest.FixtureRequest, _nats_server_in_use: Server) -> dict[str, str]:
    """Credentials of the test: those of the server's options, or those of an account for this test only."""
    names = request.config.stash[_accounts_key].get(id(_nats_server_in_use))
    if names is None:
        return _nats_server_in_use.credentials
    name = next(names, None)
    if name is None:
        pytest.fail("the shared server has no account left for this test: set nats_accounts = shared", pytrace=False)
    return {"user": name, "password": name}


@pytest.fixture
def nats_url(_nats_server_in_use: Server, _nats_login: dict[str, str]) -> str:
    """URL of the server, with credentials if the test needs them.

    The server is a shared one if the test uses that fixture, else `nats_server`.
    """
    parts = [_nats_login[part] for part in ("user", "password", "token") if part in _nats_login]
    login = ":".join(quote(part, safe="") for part in parts)
    return _nats_server_in_use.url.replace("://", f"://{login}@" if login else "://", 1)


@pytest.fixture
def nats_client_options() -> dict[str, Any]:
    """Keyword arguments of `nats.connect()` for `nats_client`. Override this fixture to set your own."""
    return {}


@pytest.fixture
def nats_client(request: pytest.FixtureRequest) -> Client:
    """A nats-py client that is connected to the server of `nats_url`; it is closed after the test.

    Requires nats-py, and either pytest-asyncio or anyio's pytest plugin to run the test.
    """
    try:
        import nats  # noqa: F401 - asked for early, for a clear message
    except ImportError:
        pytest.fail("the fixture nats_client needs nats-py: pip install nats-py (or stonechat[client])", pytrace=False)
    if "anyio_backend" in request.fixturenames:
        name = "_nats_client_anyio"
    elif request.config.pluginmanager.hasplugin("asyncio"):
        name = f"_nats_client_asyncio_{_loop_scope(request)}"
    else:
        pytest.fail(
            "the fixture nats_client needs an event loop: install pytest-asyncio, or mark the test for anyio",
            pytrace=False,
        )
    client: Client = request.getfixturevalue(name)
    return client


@pytest.fixture
def nats_js(nats_client: Client) -> JetStreamContext:
    """JetStream context of `nats_client`.

    JetStream is enabled on the server of the test. For a shared server, enable it with `nats_server_options`. Each test
    starts without streams, because it has its own server, or its own account on a shared one.
    """
    if nats_client.connected_url is not None and not nats_client._server_info.get("jetstream"):
        pytest.fail(
            "the fixture nats_js needs a server with JetStream: add jetstream=True to nats_server_options",
            pytrace=False,
        )
    return nats_client.jetstream()


# Buckets and streams, without a client


@pytest.fixture
def nats_kv(
    request: pytest.FixtureRequest, _nats_server_in_use: Server, _nats_login: dict[str, str]
) -> Iterator[Bucket]:
    """An empty key-value bucket for this test only, in process; no client library is needed.

    Set its options with the marker `nats_kv`: `@pytest.mark.nats_kv(history=5)`.
    """
    bucket = _nats_server_in_use.kv(_own_name(request), login=_nats_login, **_marked(request, "nats_kv"))
    yield bucket
    _drop(_nats_server_in_use, bucket)


@pytest.fixture
def nats_object_store(
    request: pytest.FixtureRequest, _nats_server_in_use: Server, _nats_login: dict[str, str]
) -> Iterator[ObjectStore]:
    """An empty object store for this test only, in process; no client library is needed.

    Set its options with the marker `nats_object_store`.
    """
    options = _marked(request, "nats_object_store")
    store = _nats_server_in_use.objects(_own_name(request), login=_nats_login, **options)
    yield store
    _drop(_nats_server_in_use, store)


@pytest.fixture
def nats_stream(
    request: pytest.FixtureRequest, _nats_server_in_use: Server, _nats_login: dict[str, str]
) -> Iterator[Stream]:
    """An empty stream for this test only, in process; no client library is needed.

    By default its subjects are `NAME.>`, where `NAME` is the name of the stream. Set subjects and other options with
    the marker `nats_stream`: `@pytest.mark.nats_stream(subjects=["orders.*"], max_msgs=10)`.
    """
    name = _own_name(request)
    options = {"subjects": [f"{name}.>"], **_marked(request, "nats_stream")}
    stream = _nats_server_in_use.streams.login(**_nats_login).create(name, **options)
    yield stream
    _drop(_nats_server_in_use, stream)


def _own_name(request: pytest.FixtureRequest) -> str:
    """Return a name that is unique even if tests share an account."""
    import secrets

    return f"{re.sub('[^A-Za-z0-9_-]', '_', request.node.name)[:48]}-{secrets.token_hex(3)}"


def _marked(request: pytest.FixtureRequest, name: str) -> dict[str, Any]:
    marked: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers(name))):
        marked.update(marker.kwargs)
    return marked


def _drop(server: Server, made: Bucket | ObjectStore | Stream) -> None:
    """Delete the store or stream of a fixture, unless the test has deleted it or stopped the server."""
    from stonechat import BucketNotFoundError, NotRunningError, StreamNotFoundError

    with suppress(NotRunningError, StreamNotFoundError, BucketNotFoundError):
        if server.ready:
            made.drop()


@pytest.fixture
def _nats_server_in_use(request: pytest.FixtureRequest) -> Server:
    """The server fixture of the test; of several the one with the narrowest scope, `nats_server` by default."""
    names = [name for name in ("nats_server", *_SHARED_FIXTURES) if name in request.node.fixturenames]
    server: Server = request.getfixturevalue(names[0] if names else "nats_server")
    return server


@pytest.fixture
async def _nats_client_anyio(
    anyio_backend: object,
    _nats_server_in_use: Server,
    _nats_login: dict[str, str],
    nats_client_options: dict[str, Any],
) -> AsyncIterator[Client]:
    # The backend is a name, or a tuple of name and options.
    name = anyio_backend if isinstance(anyio_backend, str) else anyio_backend[0]  # type: ignore[index]
    if name != "asyncio":
        pytest.skip(f"nats-py runs on asyncio, not on {name}")
    async with connected_client(_nats_server_in_use, {**_nats_login, **nats_client_options}) as client:
        yield client


def _loop_scope(request: pytest.FixtureRequest) -> str:
    """Return the scope of the test's event loop in pytest-asyncio, since the client must use the same loop."""
    marker = request.node.get_closest_marker("asyncio")
    given = marker.kwargs.get("loop_scope") if marker else None
    try:
        default = request.config.getini("asyncio_default_test_loop_scope")
    except ValueError:
        # Added in pytest-asyncio 0.25.
        default = "function"
    return str(given or default or "function")


@asynccontextmanager
async def connected_client(server: Server, options: dict[str, Any]) -> AsyncIterator[Client]:
    """Connect to a server, and close the connection afterwards. A refused connection fails the test."""
    from stonechat import ConnectError

    try:
        client = await server.connect(**{"name": "nats_client", **options})
    except ConnectError as error:
        pytest.fail(
            f"nats_client: {error}. Set its credentials with the fixture nats_client_options, or those of the server "
            "with @pytest.mark.nats_server(user=..., password=...)",
            pytrace=False,
        )
    try:
        yield client
    finally:
        await client.close()


# Fixtures under names of your own


def server_fixture(
    *,
    scope: Literal["session", "package", "module", "class", "function"] = "function",
    name: str | None = None,
    **options: Unpack[ServerOptions],
) -> Any:
    """Create a fixture for a running server with these options, which override `nats_server_options`.

        orders_server = server_fixture(scope="module", jetstream=True)

    The report of a failed test includes this server, like `nats_server`.
    """

    def server(request: pytest.FixtureRequest, nats_server_options: ServerOptions) -> Iterator[Server]:
        from stonechat import Server

        chosen: ServerOptions = {**nats_server_options, **options}
        yield from _running(request, Server(**chosen))

    return pytest.fixture(scope=scope, name=name)(server)


def client_fixture(
    server: str,
    *,
    name: str | None = None,
    loop_scope: Literal["session", "package", "module", "class", "function"] = "function",
    **options: Any,
) -> Any:
    """Create a fixture for a nats-py client that is connected to the server of another fixture.

        orders_client = client_fixture("orders_server", user="joe", password="secret")

    The options are those of `nats.connect()`. With pytest-asyncio, the client uses the event loop of `loop_scope`.
    """

    async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
        named = {"name": str(request.fixturename), **options}
        async with connected_client(request.getfixturevalue(server), named) as connected:
            yield connected

    try:
        import pytest_asyncio
    except ImportError:
        return pytest.fixture(name=name)(client)
    return pytest_asyncio.fixture(loop_scope=loop_scope, name=name)(client)


# Reports


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Store the start time of the test, and the log lines of shared servers from before it."""
    item.stash[_began_key] = time.time()
    shared = item.config.stash[_shared_key]
    names = getattr(item, "fixturenames", ())
    item.stash[_used_key] = [
        _Used(server, name, tuple(server.logs)) for name, server in shared.items() if name in names
    ]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the messages and logs of its servers to the report of a failed test."""
    report = yield
    limit = _log_lines(item.config)
    if report.failed and limit > 0:
        began = item.stash.get(_began_key, 0.0)
        for used in _servers_of(item):
            if messages := _timeline(used.server, began, limit):
                report.sections.append((f"NATS messages ({used.label}, {report.when})", "\n".join(messages)))
            if lines := _folded(_new_lines(used.server.logs, used.seen)):
                title = f"NATS server log ({used.label}, {report.when})"
                shown = (f"+{max(line.time - began, 0.0):7.3f} s  {line}" for line in lines[-limit:])
                report.sections.append((title, "\n".join(shown)))
    return report


def _timeline(server: Server, began: float, limit: int) -> list[str]:
    """Return report lines of the messages since the start of the test; empty if the server does not record."""
    from stonechat import NotSupportedError
    from stonechat.messages import timeline

    try:
        return timeline(server._recording(), began, limit)
    except NotSupportedError:
        return []


_READY = "Server is ready"


def _folded(lines: list[LogLine]) -> list[LogLine]:
    """Return log lines; the lines of each successful start are replaced by one line."""
    kept: list[LogLine] = []
    start: list[LogLine] = []
    for line in lines:
        if line.message == "Starting nats-server":
            start = [line]
        elif start and line.message == _READY:
            told = f"{_READY} ({len(start)} lines of its start are left out)"
            kept.append(line._replace(message=told))
            start = []
        elif start and line.level <= logging.INFO:
            start.append(line)
        else:
            kept.append(line)
    # The lines of an incomplete start are kept.
    return kept + start


def _servers_of(item: pytest.Item) -> list[_Used]:
    at_setup: list[_Used] = item.stash.get(_used_key, [])
    used = [*at_setup]
    known = {id(one.server) for one in used}
    names = getattr(item, "fixturenames", ())
    # A shared server that was started for this test was not running at its setup.
    for name, server in item.config.stash[_shared_key].items():
        if name in names and id(server) not in known:
            used.append(_Used(server, name))
    return used


def _new_lines(lines: list[LogLine], seen: tuple[LogLine, ...]) -> list[LogLine]:
    """Return the lines after the seen ones; the log may have dropped some of the seen ones in the meantime."""
    last = seen[-1] if seen else None
    for index in range(len(lines) - 1, -1, -1):
        # Lines are compared by time, level and text, since the objects are new with every call.
        if lines[index] == last:
            return lines[index + 1 :]
    return lines
