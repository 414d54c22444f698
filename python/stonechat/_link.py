"""Requests to a server of this process, for blocking code and for event loops.

An operation is a generator. It sends requests at once, and yields a *step* wherever it has to wait. [`run`] executes
the steps on the calling thread, [`run_async`] in an event loop (asyncio or trio). So each operation on streams, buckets
and objects is written only once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
import sys
import threading
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from . import _rules
from ._stonechat import Link
from .errors import (
    ConnectError,
    ConsumerNotFoundError,
    JetStreamError,
    NoAnswerError,
    NotRunningError,
    RuleError,
    StreamExistsError,
    StreamNotFoundError,
    WrongRevisionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._stonechat import Handle, Inbox
    from .server import Server

T = TypeVar("T")
Login = dict[str, str]
"""Credentials: `user` and `password`, or `token`."""

ANSWER_WITHIN = 5.0
"""Seconds to wait for a response of the server."""
_API = "$JS.API"

# Received messages


class Message(NamedTuple):
    """A received message."""

    subject: str
    reply: str | None
    headers: dict[str, str]
    data: bytes
    status: int
    """Status code in the headers, such as 404; 0 if the message has none."""
    text: str
    """Description of the status."""


def message(parts: tuple[str, str | None, bytes | None, bytes]) -> Message:
    """Parse the headers and the status of a received message."""
    subject, reply, block, data = parts
    if block is None:
        return Message(subject, reply, {}, data, 0, "")
    first, *lines = block.decode(errors="replace").split("\r\n")
    headers = {name.strip(): value.strip() for name, mark, value in (line.partition(":") for line in lines) if mark}
    status, _, text = first.removeprefix("NATS/1.0").strip().partition(" ")
    return Message(subject, reply, headers, data, int(status) if status.isdecimal() else 0, text)


# Steps


class Step:
    """A wait of an operation."""

    def wait(self) -> Any:
        """Wait on the calling thread."""
        raise NotImplementedError

    async def wait_async(self) -> Any:
        """Wait in an event loop."""
        raise NotImplementedError


Ops = Generator[Step, Any, T]
"""An operation: a generator that yields steps to wait for, and returns the operation's result."""


class Call(Step):
    """A call of a function that may block, such as one that reads a file."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function

    def wait(self) -> Any:
        """Call the function."""
        return self.function()

    async def wait_async(self) -> Any:
        """Call the function on another thread."""
        return await off_thread(self.function)


class Take(Step):
    """A wait for the next message of an inbox. The result is `None` after `seconds`."""

    def __init__(self, connection: Connection, inbox: Inbox, seconds: float | None) -> None:
        self.connection = connection
        self.inbox = inbox
        self.seconds = seconds

    def wait(self) -> Message | None:
        """Wait in Rust, without the GIL."""
        parts = self.inbox.take(self.seconds)
        return None if parts is None else message(parts)

    async def wait_async(self) -> Message | None:
        """Wait for a notification of the inbox."""
        parts = self.inbox.take(0)
        if parts is None and (self.seconds is None or self.seconds > 0):
            await self.connection.bell.rings(self.inbox, self.seconds)
            parts = self.inbox.take(0)
        return None if parts is None else message(parts)


def run(ops: Ops[T]) -> T:
    """Run an operation on the calling thread."""
    try:
        step = next(ops)
        while True:
            try:
                result = step.wait()
            except BaseException as error:  # noqa: BLE001, PERF203 - the operation decides, as if it had waited itself
                step = ops.throw(error)
            else:
                step = ops.send(result)
    except StopIteration as end:
        value: T = end.value
        return value


async def run_async(ops: Ops[T]) -> T:
    """Run an operation in an event loop."""
    try:
        step = next(ops)
        while True:
            try:
                result = await step.wait_async()
            except BaseException as error:  # noqa: BLE001, PERF203 - a cancellation too: the operation tidies up
                step = ops.throw(error)
            else:
                step = ops.send(result)
    except StopIteration as end:
        value: T = end.value
        return value


async def off_thread(function: Callable[[], T]) -> T:
    """Run a blocking function on a worker thread of asyncio or trio."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        # The thread can't be cancelled, so wait for its end even after a cancellation.
        with trio.CancelScope(shield=True):
            result: T = await trio.to_thread.run_sync(function)
        return result
    return await asyncio.to_thread(function)


class Bell:
    """Wakes event loops that wait for messages of a connection.

    No thread of the server may call into Python. So a Python thread waits in Rust for tokens, which identify the
    waiting tasks. The thread starts when an event loop waits for the first time, and ends with the connection.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._waiting: dict[int, Callable[[], object]] = {}
        self._tokens = itertools.count(1)
        self._thread: threading.Thread | None = None
        self._ended = False

    async def rings(self, inbox: Inbox, seconds: float | None) -> None:
        """Wait until the inbox has a message or is closed, at most `seconds`."""
        trio = sys.modules.get("trio")
        token = next(self._tokens)
        if trio is not None and trio.lowlevel.in_trio_run():
            event = trio.Event()
            trio_token = trio.lowlevel.current_trio_token()
            self._waiting[token] = lambda: trio_token.run_sync_soon(event.set)
            wait = event.wait
            limit = trio.move_on_after(float("inf") if seconds is None else seconds)
            with self._told(token, inbox), limit:
                await wait()
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def done() -> None:
            if not future.done():
                future.set_result(None)

        self._waiting[token] = lambda: loop.call_soon_threadsafe(done)
        with self._told(token, inbox):
            await asyncio.wait([future], timeout=seconds)

    @contextlib.contextmanager
    def _told(self, token: int, inbox: Inbox) -> Generator[None, None, None]:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="stonechat-bell", daemon=True)
                self._thread.start()
        try:
            inbox.tell(token)
            if self._ended:
                # The thread has ended because the connection is closed: wake the task, which then finds it closed.
                self._ring(token)
            yield
        finally:
            self._waiting.pop(token, None)

    def _run(self) -> None:
        while (tokens := self._link.notices(3600.0)) is not None:
            for token in tokens:
                self._ring(token)
        # Wake the tasks that wait already; tasks that begin to wait later check `_ended`.
        self._ended = True
        for token in list(self._waiting):
            self._ring(token)

    def _ring(self, token: int) -> None:
        tell = self._waiting.pop(token, None)
        if tell is not None:
            # The event loop may have been closed in the meantime.
            with contextlib.suppress(RuntimeError):
                tell()


# Connections


class Connection:
    """An in-process client without a socket, with requests to JetStream's API."""

    def __init__(self, link: Link, handle: Handle) -> None:
        self.link = link
        self.handle = handle
        self.bell = Bell(link)
        self.max_payload = link.max_payload

    @classmethod
    def open(cls, handle: Handle, login: Login) -> Connection:
        """Connect to a running server."""
        names = {"user": "user", "password": "pass", "token": "auth_token"}
        unknown = set(login) - set(names)
        if unknown:
            raise RuleError(f"credentials are user and password, or token, not {', '.join(sorted(unknown))}")
        connect = {"name": "stonechat (in process)", **{names[name]: text for name, text in login.items()}}
        link = Link.connect(handle, json.dumps(connect), secrets.token_hex(8), ANSWER_WITHIN)
        return cls(link, handle)

    @property
    def is_open(self) -> bool:
        """Whether the connection is open."""
        return not self.link.is_closed

    def close(self) -> None:
        """Close the connection, which ends all waits on it."""
        self.link.close()

    def publish(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, reply: str | None = None
    ) -> None:
        """Publish a message without waiting for a response."""
        block = _rules.header_block(headers or {})
        self._check_size(subject, data, block)
        self.link.publish(subject, data, block, reply)

    def ask(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> Inbox:
        """Send a request and return the inbox for its responses."""
        block = _rules.header_block(headers or {})
        self._check_size(subject, data, block)
        return self.link.request(subject, data, block)

    def _check_size(self, subject: str, data: bytes, block: bytes | None) -> None:
        total = len(data) + len(block or b"")
        if total > self.max_payload:
            raise RuleError(
                f"{total} bytes for {subject} are more than the server's max_payload of {self.max_payload} takes"
            )

    def answer(self, inbox: Inbox, subject: str, seconds: float = ANSWER_WITHIN) -> Ops[Message]:
        """Wait for the next response to a request."""
        answer: Message | None = yield Take(self, inbox, seconds)
        if answer is None:
            raise NoAnswerError(f"no answer to {subject} within {seconds:g} s")
        return answer

    def request(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None = None, seconds: float = ANSWER_WITHIN
    ) -> Ops[Message]:
        """Send a request and return its response, also if that is an error or has a status."""
        inbox = self.ask(subject, data, headers)
        try:
            return (yield from self.answer(inbox, subject, seconds))
        finally:
            inbox.close()

    def api(self, call: str, body: Mapping[str, Any] | None = None) -> Ops[dict[str, Any]]:
        """Send a request to JetStream's API and return the parsed response; `call` is the subject after `$JS.API.`."""
        data = b"" if body is None else json.dumps(body).encode()
        answer = yield from self.request(f"{_API}.{call}", data)
        if answer.status == 503:
            raise JetStreamError("this server has no JetStream: start it with Server(jetstream=True)", 503)
        return _document(answer)

    def tell(self, call: str, body: bytes) -> None:
        """Send a request to JetStream's API and ignore its response."""
        # The API only handles messages with a reply subject.
        self.ask(f"{_API}.{call}", body).close()

    def get(self, call: str, body: Mapping[str, Any] | None = None) -> Ops[Message]:
        """Send a direct get request; the response is the stored message, or a status such as 404."""
        data = b"" if body is None else json.dumps(body).encode()
        return (yield from self.request(f"{_API}.{call}", data))

    def store(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> Ops[dict[str, Any]]:
        """Publish a message and wait for the acknowledgement of a stream."""
        answer = yield from self.request(subject, data, headers)
        return stored(answer, subject)


def stored(answer: Message, subject: str) -> dict[str, Any]:
    """Parse the acknowledgement of a stream; raise the error that it reports."""
    if answer.status == 503:
        raise StreamNotFoundError(f"no stream takes {subject}", 503)
    return _document(answer)


_KINDS: dict[int, type[JetStreamError]] = {
    10014: ConsumerNotFoundError,
    10058: StreamExistsError,
    10059: StreamNotFoundError,
    10065: StreamExistsError,
    10071: WrongRevisionError,
    10164: WrongRevisionError,
}


def _document(answer: Message) -> dict[str, Any]:
    try:
        document = json.loads(answer.data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise JetStreamError(f"the answer on {answer.subject} is no JSON object", answer.status)
    error = document.get("error")
    if error is not None:
        error = error if isinstance(error, dict) else {}
        err_code = error.get("err_code", 0)
        kind = _KINDS.get(err_code, JetStreamError)
        raise kind(str(error.get("description", "no reason given")), error.get("code", 0), err_code)
    return document


class Access:
    """Provides connections to a server with certain credentials, also after a restart of the server."""

    def __init__(self, server: Server, login: Login | None) -> None:
        self.server = server
        self.login = login

    def connection(self) -> Connection:
        """Return the open connection, or open a new one."""
        return self.server._connection(self.login)

    def revived(self) -> Connection:
        """Return a connection after the previous one has ended; wait for a running restart of the server."""
        while True:
            restarts = self.server._restarts
            while self.server._restarting:
                time.sleep(0.01)
            try:
                return self.connection()
            except (NotRunningError, ConnectError):
                # If a restart began in the meantime, it caused the error: connect again to the restarted server.
                if restarts == self.server._restarts:
                    raise

    def run(self, ops: Callable[[Connection], Ops[T]]) -> T:
        """Run an operation on the calling thread."""
        return run(ops(self.connection()))

    async def run_async(self, ops: Callable[[Connection], Ops[T]]) -> T:
        """Run an operation in an event loop."""
        connection = self.server._open_connection(self.login)
        if connection is None:
            connection = await off_thread(self.connection)
        return await run_async(ops(connection))
