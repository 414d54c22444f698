"""A server inside this process."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import threading
import time
import warnings
import weakref
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from . import logs
from ._link import off_thread as _off_thread
from ._stonechat import Handle
from ._stores import Stores
from .errors import NotRunningError, NotSupportedError, ServerFailedError, WrongProcessError
from .logs import LogLine
from .messages import Recording, is_internal, matches
from .options import Settings, settings_from
from .stats import ServerStats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from nats.aio.client import Client
    from typing_extensions import Self

    from ._link import Access, Connection, Login
    from .messages import RecordedMessage
    from .options import Config, Seconds

__all__ = ["Server"]

_KEPT_LINES = 1000
_POLL_SECONDS = 0.02
_MOST_CONNECTIONS = 65536
_keys = itertools.count(1)
_servers: weakref.WeakSet[Server] = weakref.WeakSet()


class Server(Stores):
    """A server in this process.

        with stonechat.Server() as server:
            print(server.url)

    Starting takes a few milliseconds; when `start()` returns, clients can connect. Every server has its own threads,
    port and log, so a process may have many servers. By default a server binds to 127.0.0.1 and to any free port. A
    stopped server can be started again.

    All methods may be called from any thread; those that wait release the GIL. In asynchronous code use `async with`
    or the methods that end in `_async`: they do not block the event loop (asyncio or trio).

    Args:
        config: A configuration in nats-server's language, as text, or the path of such a file. The other
            options override it.
        host: Address to bind, `127.0.0.1` by default.
        port: Port for clients; 0, the default, selects any free port.
        monitor_port: Port for the monitoring endpoints over HTTP; 0 selects any free port. By default there are no
            monitoring endpoints.
        server_name: Name of the server; its id by default.
        user: User name that clients must give; requires `password`.
        password: Password that clients must give.
        token: Token that clients must give, instead of a user name and a password.
        users: Several users, as a mapping of names to passwords. Define users with permissions in `config`.
        auth_timeout: Time that a client has to log in.
        client_advertise: `host[:port]` that is announced to clients instead of the bound address.
        max_payload: Largest payload of a message in bytes, 1 MiB by default.
        max_connections: Largest number of connected clients.
        max_subscriptions: Largest number of subscriptions of a client; 0 means no limit.
        max_control_line: Longest protocol line in bytes.
        max_pending: Bytes that may be pending for a client. Above this, the server closes it as a slow consumer.
        ping_interval: Time between pings to an idle client.
        ping_max: Number of unanswered pings after which the server closes a client.
        write_deadline: Longest time for a write to a client.
        lame_duck_duration: Time over which lame duck mode closes the clients.
        lame_duck_grace_period: Time in lame duck mode before the first client is closed.
        debug: Log debug messages.
        trace: Log the protocol, at the level [`TRACE`][stonechat.TRACE].
        jetstream: Enable JetStream. Without `store_dir`, streams and consumers are stored in a private temporary
            directory, without waiting for the disk. The directory is removed when the server stops.
        store_dir: Directory for JetStream, which is kept after a stop. Acknowledged messages are on disk.
        max_memory: Largest size of all streams in memory, in bytes.
        max_file: Largest size of all streams on disk, in bytes.
        record: Record the messages, for [`published`][stonechat.Server.published]. This costs about 10 microseconds
            per message. The last 100,000 lines of the protocol trace are kept, at most 32 MiB.

    Times are seconds or a `timedelta`.

    Raises:
        ConfigError: If an option is wrong. Errors in `config` are raised by `start()`.
        NotSupportedError: If an option requires a feature that this version lacks.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        monitor_port: int | None = None,
        server_name: str | None = None,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        users: Mapping[str, str] | None = None,
        auth_timeout: Seconds | None = None,
        client_advertise: str | None = None,
        max_payload: int | None = None,
        max_connections: int | None = None,
        max_subscriptions: int | None = None,
        max_control_line: int | None = None,
        max_pending: int | None = None,
        ping_interval: Seconds | None = None,
        ping_max: int | None = None,
        write_deadline: Seconds | None = None,
        lame_duck_duration: Seconds | None = None,
        lame_duck_grace_period: Seconds | None = None,
        debug: bool | None = None,
        trace: bool | None = None,
        jetstream: bool = False,
        store_dir: str | os.PathLike[str] | None = None,
        max_memory: int | None = None,
        max_file: int | None = None,
        record: bool = False,
    ) -> None:
        # At this point, locals() holds the arguments and nothing else. This avoids a second list of them.
        options: dict[str, Any] = {name: value for name, value in locals().items() if name != "self"}
        self._handle: Handle | None = None
        self._last_lines: list[tuple[float, int, str]] = []
        self._last_tape: list[tuple[float, int, str]] | None = None
        self._settings: Settings = settings_from(options)
        if users:
            user, password = next(iter(users.items()))
        self._user, self._password = user, password
        self._token = token
        self._key = next(_keys)
        self._lock = threading.Lock()
        self._connections: dict[str, Connection] = {}
        self._connecting = threading.Lock()
        self._restart_lock = threading.Lock()
        self._restarting = False
        self._restarts = 0
        self._pid = os.getpid()

    # Start and stop

    def start(self) -> Self:
        """Start the server and return it, ready for clients. Do nothing if it runs already.

        Raises:
            PortInUseError: If the port is in use.
            ListenError: If the address can't be bound for another reason.
            ConfigError: If the configuration is wrong; the error has file, line and column.
            ConfigFileNotFoundError: If the configuration file does not exist.
            NotSupportedError: If the configuration requires a feature that this version lacks.
        """
        return self._start(self._settings)

    def _start(self, settings: Settings) -> Self:
        self._check_process()
        with self._lock:
            if self._handle is not None:
                if self._handle.is_running:
                    return self
                self._close()
            dispatcher = logs.dispatcher
            dispatcher.ensure_running()
            dispatcher.names[self._key] = settings["server_name"] or ""
            try:
                self._handle = Handle.start(settings, dispatcher.queue, self._key, _KEPT_LINES)
            except BaseException:
                del dispatcher.names[self._key]
                raise
            dispatcher.names[self._key] = self._handle.server_name
            _servers.add(self)
        return self

    def stop(self) -> None:
        """Stop the server and wait until it has ended. Do nothing if it is not running.

        When this returns, the port is free, and all log lines have reached `logging`.

        Raises:
            ServerFailedError: If the server had already ended because of an internal error. Its resources are released
                in this case too.
        """
        self._check_process()
        with self._lock:
            handle = self._handle
            if handle is None:
                return
            self._close()
        # Outside the lock: a logging handler may call methods of this server.
        logs.dispatcher.flush()
        with self._lock:
            # Another thread may have started the server again; its log lines still need the name.
            if self._handle is None:
                logs.dispatcher.names.pop(self._key, None)
        _check_fault(handle)

    def restart(self) -> Self:
        """Stop the server and start it on the same ports, so that clients can reconnect."""
        self._check_process()
        # Concurrent restarts run one after the other: the end of the first must not reset `_restarting` for the second.
        with self._restart_lock:
            handle = self._current()
            settings = self._settings
            settings = {**settings, "port": handle.port}
            if handle.monitor_url is not None:
                settings["monitor_port"] = int(handle.monitor_url.rpartition(":")[2])
            # Watches wait until `_restarting` is false. The counter shows whether a restart began during an attempt to
            # connect.
            self._restarting = True
            self._restarts += 1
            try:
                self.stop()
                return self._start(settings)
            finally:
                self._restarting = False

    def lame_duck(self) -> None:
        """Enter lame duck mode: accept no new clients, and ask the connected ones to use another server.

        Returns at once. The server ends after `lame_duck_grace_period` and `lame_duck_duration`; use
        [`wait`][stonechat.Server.wait] to wait for the end.
        """
        self._current().lame_duck()

    def reload(self) -> None:
        """Read the configuration file again and apply the changes.

        Raises:
            ReloadError: If there is no file, the file is wrong, or an option changed that requires a restart. The old
                configuration stays in effect.
        """
        self._current().reload()

    def wait(self, timeout: Seconds | None = None) -> bool:
        """Wait until the server has ended, by itself or because another thread stopped it.

        Returns:
            `True` if the server has ended, `False` after the timeout.

        Raises:
            ServerFailedError: If the server has ended because of an internal error.
        """
        handle = self._handle
        deadline = None if timeout is None else time.monotonic() + _limit(timeout)
        # Waiting in Rust would block Ctrl-C; polling does not.
        while self.ready:
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        if handle is not None:
            _check_fault(handle)
        return True

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A forked child may leave the block too, but must not stop the server of its parent.
        if self._is_ours():
            self.stop()

    # Start and stop, in asynchronous code

    async def start_async(self) -> Self:
        """Like [`start`][stonechat.Server.start], without blocking the event loop."""
        try:
            return await _off_thread(self.start)
        except BaseException:
            # After a cancellation the thread may still be starting the server. stop() waits for its lock, then stops
            # the server.
            threading.Thread(target=self.stop, name="stonechat-stop").start()
            raise

    async def stop_async(self) -> None:
        """Like [`stop`][stonechat.Server.stop], without blocking the event loop."""
        await _off_thread(self.stop)

    async def restart_async(self) -> Self:
        """Like [`restart`][stonechat.Server.restart], without blocking the event loop."""
        return await _off_thread(self.restart)

    async def reload_async(self) -> None:
        """Like [`reload`][stonechat.Server.reload], without blocking the event loop."""
        await _off_thread(self.reload)

    async def __aenter__(self) -> Self:
        return await self.start_async()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_ours():
            await self.stop_async()

    # State

    @property
    def ready(self) -> bool:
        """Whether the server is running and accepts clients."""
        self._check_process()
        handle = self._handle
        return handle is not None and handle.is_running

    @property
    def url(self) -> str:
        """URL for clients, such as `nats://127.0.0.1:4222`."""
        return self._current().url

    @property
    def host(self) -> str:
        """Address at which clients can reach the server."""
        return self._current().host

    @property
    def port(self) -> int:
        """Port for clients."""
        return self._current().port

    @property
    def monitor_url(self) -> str | None:
        """URL of the monitoring endpoints, or `None` if they are off."""
        return self._current().monitor_url

    @property
    def server_id(self) -> str:
        """The server's id, a public key that changes with every start."""
        return self._current().server_id

    @property
    def name(self) -> str:
        """The server's name."""
        return self._current().server_name

    @property
    def credentials(self) -> dict[str, str]:
        """The credentials from the options, as arguments of `nats.connect()`: `user` and `password`, `token`, or none.

        With several `users`, those of the first user.
        """
        given = {"user": self._user, "password": self._password, "token": self._token}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def logs(self) -> list[LogLine]:
        """The last log lines, at most 1000. After a stop, the last lines before it."""
        self._check_process()
        handle = self._handle
        return [LogLine(*line) for line in (self._last_lines if handle is None else handle.logs())]

    def stats(self) -> ServerStats:
        """Return the counters of connections, subscriptions, messages and bytes."""
        return ServerStats.from_varz(self.varz())

    def varz(self) -> dict[str, Any]:
        """Return the document of the monitoring endpoint `/varz`; needs no monitoring port."""
        document: dict[str, Any] = json.loads(self._current().varz())
        return document

    def connz(self, **query: str | int | bool) -> dict[str, Any]:
        """Return the document of the monitoring endpoint `/connz`; needs no monitoring port.

        The keyword arguments are the parameters of the endpoint: `connz(subs=True, state="closed")`.
        """
        document: dict[str, Any] = json.loads(self._current().connz(_query(query)))
        return document

    def jsz(self, **query: str | int | bool) -> dict[str, Any]:
        """Return the document of the monitoring endpoint `/jsz`; needs no monitoring port.

        The keyword arguments are the parameters of the endpoint: `jsz(streams=True, consumers=True)`.
        """
        document: dict[str, Any] = json.loads(self._current().jsz(_query(query)))
        return document

    # Clients and their messages

    async def connect(self, **options: Any) -> Client:
        """Connect a nats-py client to this server, with the server's credentials.

            client = await server.connect(name="worker")

        The options are those of `nats.connect()` and override the credentials. Only one attempt is made; nats-py
        would try for two minutes. Close the client like any other nats-py client.

        Raises:
            ConnectError: If the client can't connect, or the server refuses its credentials.
            ImportError: If nats-py is not installed.
        """
        from ._client import connect

        return await connect(self.url, {**self.credentials, **options})

    def published(self, subject: str = ">", *, since: float = 0.0) -> list[RecordedMessage]:
        """Return the messages that clients have published on a subject, in order; wildcards are allowed.

        Each message names its publisher and its receivers. A message is recorded when the server has read it. So
        flush the client first, or use [`wait_for_published`][stonechat.Server.wait_for_published]. Inboxes and
        subjects that begin with `$` are only included if `subject` names their first token (`_INBOX.>`).

        Args:
            subject: Subject or pattern of subjects.
            since: Only messages from this time on, in seconds since 1970.

        Raises:
            NotSupportedError: If the server does not record messages. Start it with `record=True`; the servers of the
                pytest fixtures record by default.
        """
        return list(self._recording().published(subject, since))

    def wait_for_published(
        self, subject: str, count: int = 1, timeout: Seconds = 5.0, *, since: float = 0.0
    ) -> list[RecordedMessage]:
        """Wait until clients have published at least `count` messages on a subject, and return all of them.

        Raises:
            TimeoutError: If they are not published in time; the message lists the subjects that were published on.
        """
        found: list[RecordedMessage] = []

        def enough() -> bool:
            found[:] = self.published(subject, since=since)
            return len(found) >= count

        if not self._wait_until(enough, timeout):
            others = ", ".join(dict.fromkeys(message.subject for message in self.published(since=since))) or "nothing"
            raise TimeoutError(
                f"{len(found)} of {count} messages on {subject!r} within {_limit(timeout):g} s; published: {others}"
            )
        return found

    def wait_for_subscription(self, subject: str, count: int = 1, timeout: Seconds = 5.0) -> None:
        """Wait until at least `count` subscriptions of clients match a subject.

        Streams don't count. If `subject` is a pattern, it matches subscriptions with exactly this pattern, or with a
        wider one.

        Raises:
            TimeoutError: If too few subscriptions match in time; the message lists the subscriptions of all clients.
        """
        held: list[tuple[str, str]] = []

        def enough() -> bool:
            held[:] = self._subscriptions()
            return sum(subject == pattern or matches(pattern, subject) for _, pattern in held) >= count

        if not self._wait_until(enough, timeout):
            others = (
                ", ".join(f"{name} listens to {pattern}" for name, pattern in held if not is_internal(pattern))
                or "nobody listens at all"
            )
            raise TimeoutError(f"no subscription to {subject!r} within {_limit(timeout):g} s; {others}")

    async def wait_for_published_async(
        self, subject: str, count: int = 1, timeout: Seconds = 5.0, *, since: float = 0.0
    ) -> list[RecordedMessage]:
        """Like [`wait_for_published`][stonechat.Server.wait_for_published], without blocking the event loop."""
        return await _off_thread(lambda: self.wait_for_published(subject, count, timeout, since=since))

    async def wait_for_subscription_async(self, subject: str, count: int = 1, timeout: Seconds = 5.0) -> None:
        """Like [`wait_for_subscription`][stonechat.Server.wait_for_subscription], for event loops."""
        await _off_thread(lambda: self.wait_for_subscription(subject, count, timeout))

    def _subscriptions(self) -> list[tuple[str, str]]:
        """Return pairs of a client's name and a subject that it subscribes to."""
        connections = self.connz(subs=True, limit=_MOST_CONNECTIONS)["connections"]
        return [
            (one.get("name") or f"client {one['cid']}", subject)
            for one in connections
            for subject in one.get("subscriptions_list", ())
        ]

    def _recording(self) -> Recording:
        handle = self._handle
        tape = self._last_tape if handle is None else handle.tape()
        self._check_process()
        if tape is None:
            raise NotSupportedError("this server does not record messages: start it with record=True")
        return Recording(tape)

    def _wait_until(self, true: Callable[[], bool], timeout: Seconds) -> bool:
        deadline = time.monotonic() + _limit(timeout)
        while not true():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def __repr__(self) -> str:
        handle = self._handle
        if not self._is_ours():
            state = "of another process"
        elif handle is None:
            state = "not running"
        else:
            state = handle.url if handle.is_running else "ended"
        return f"<stonechat.Server {state}>"

    def _repr_html_(self) -> str:
        from ._html import server

        return server(self)

    # Helpers

    def _is_ours(self) -> bool:
        return self._pid == os.getpid()

    def _check_process(self) -> None:
        if not self._is_ours():
            raise WrongProcessError(
                f"this server lives in process {self._pid}, not in its forked child {os.getpid()}; "
                "the child can connect to it, or start a server of its own"
            )

    def _current(self) -> Handle:
        self._check_process()
        if self._handle is None:
            raise NotRunningError("the server is not running: call start() first, or use it in a with statement")
        _check_fault(self._handle)
        return self._handle

    def _access(self, login: Mapping[str, str] | None) -> Access:
        from ._link import Access

        return Access(self, None if login is None else dict(login))

    def _open_connection(self, login: Login | None) -> Connection | None:
        """Return the open in-process connection with these credentials, or `None`."""
        handle = self._current()
        connection = self._connections.get(json.dumps(self.credentials if login is None else login))
        usable = connection is not None and connection.is_open and connection.handle is handle
        return connection if usable else None

    def _connection(self, login: Login | None) -> Connection:
        """Return the in-process connection with these credentials, or those of the options; open it if needed."""
        from ._link import Connection

        with self._connecting:
            connection = self._open_connection(login)
            if connection is None:
                login = self.credentials if login is None else login
                connection = Connection.open(self._current(), login)
                self._connections[json.dumps(login)] = connection
        return connection

    def _close(self) -> None:
        for connection in list(self._connections.values()):
            connection.close()
        self._connections.clear()
        if self._handle is not None:
            self._handle.shutdown()
            self._handle.wait()
            self._last_lines = self._handle.logs()
            self._last_tape = self._handle.tape()
            self._handle = None

    def __del__(self) -> None:
        # Python also calls this if __init__ has refused the options; then `_handle` may be missing.
        handle = getattr(self, "_handle", None)
        if handle is not None and self._is_ours() and handle.is_running:
            warnings.warn(f"unclosed server {self!r}", ResourceWarning, source=self, stacklevel=1)
            handle.shutdown()


def _limit(timeout: Seconds) -> float:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout


def _query(parameters: Mapping[str, str | int | bool]) -> str:
    """Return the parameters of a monitoring endpoint as a query string."""
    texts = {name: str(value).lower() if isinstance(value, bool) else value for name, value in parameters.items()}
    return urlencode(texts)


def _check_fault(handle: Handle) -> None:
    fault = handle.fault
    if fault is not None:
        raise ServerFailedError(f"the server has ended because of an internal error: {fault}")


def _stop_all() -> None:
    for server in list(_servers):
        if server._is_ours():
            # The log has the fault already; the other servers must be stopped too.
            with contextlib.suppress(ServerFailedError):
                server.stop()


# Registered after the exit handler of `logs`, so it runs before that: the last log lines still reach `logging`.
atexit.register(_stop_all)
