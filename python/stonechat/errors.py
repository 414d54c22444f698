"""Exceptions of this package; all of them derive from [`ServerError`][stonechat.ServerError].

An exception also derives from the built-in exception for the same failure, if there is one. So a port in use is an
`OSError`, a missing file a `FileNotFoundError`, and a wrong value a `ValueError`.
"""

from __future__ import annotations

import errno as _errno

__all__ = [
    "BucketExistsError",
    "BucketNotFoundError",
    "ConfigError",
    "ConfigFileNotFoundError",
    "ConnectError",
    "ConsumerNotFoundError",
    "JetStreamError",
    "KeyExistsError",
    "KeyNotFoundError",
    "ListenError",
    "MessageNotFoundError",
    "NoAnswerError",
    "NotAllowedError",
    "NotRunningError",
    "NotSupportedError",
    "ObjectDamagedError",
    "ObjectExistsError",
    "ObjectNotFoundError",
    "PortInUseError",
    "ReloadError",
    "RuleError",
    "ServerError",
    "ServerFailedError",
    "StreamExistsError",
    "StreamNotFoundError",
    "WrongProcessError",
    "WrongRevisionError",
]


class ServerError(Exception):
    """Base class of all exceptions of this package."""


class ListenError(ServerError, OSError):
    """The server can't listen on its address."""

    host: str
    """Requested address."""
    port: int
    """Requested port."""

    def __init__(self, message: str, errno: int | None, host: str, port: int) -> None:
        super().__init__(errno, message)
        self.host = host
        self.port = port

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[type[ListenError], tuple[str, int | None, str, int]]:
        return type(self), (str(self), self.errno, self.host, self.port)


class PortInUseError(ListenError):
    """Another program, or another server of this process, already uses the port; `errno` is `EADDRINUSE`."""


class ConfigError(ServerError, ValueError):
    """An option or the configuration is wrong.

    `file`, `line` and `column` locate the error in the configuration. They are `None` for options given as keywords.
    """

    file: str | None
    """Name of the file, as given."""
    line: int | None
    """Line number, counted from 1."""
    column: int | None
    """Column as nats-server counts it."""

    def __init__(
        self, message: str, file: str | None = None, line: int | None = None, column: int | None = None
    ) -> None:
        super().__init__(message)
        self.file = file
        self.line = line
        self.column = column

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, str | None, int | None, int | None]]:
        return type(self), (str(self), self.file, self.line, self.column)


class ConfigFileNotFoundError(ConfigError, FileNotFoundError):
    """The configuration file does not exist; `filename` is its name and `errno` is `ENOENT`."""

    def __init__(
        self, message: str, file: str | None = None, line: int | None = None, column: int | None = None
    ) -> None:
        super().__init__(message, file, line, column)
        self.errno = _errno.ENOENT
        self.strerror = message
        self.filename = file

    def __str__(self) -> str:
        return str(self.strerror)


class ConnectError(ServerError, ConnectionError):
    """A client can't connect to the server, or the server refuses its credentials."""


class NotSupportedError(ServerError, NotImplementedError):
    """This version lacks the requested feature, or the server was started without it."""


class NotRunningError(ServerError, RuntimeError):
    """The operation requires a running server."""


class ReloadError(ServerError):
    """The new configuration was refused; the old one stays in effect."""


class ServerFailedError(ServerError, RuntimeError):
    """The server has ended because of an internal error; the message and the server's log name it."""


class WrongProcessError(ServerError, RuntimeError):
    """The server belongs to the process that started it; a forked child can't use it."""


# Streams, buckets and objects


class RuleError(ServerError, ValueError):
    """An argument such as a name, key, size or revision is not valid, and was not sent; the message says why."""


class NotAllowedError(ServerError, PermissionError):
    """The user lacks a permission for the operation; the message is that of the server."""

    def __init__(self, message: str) -> None:
        super().__init__(_errno.EACCES, message)

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[type[NotAllowedError], tuple[str]]:
        return type(self), (str(self),)


class NoAnswerError(ServerError, TimeoutError):
    """The server did not answer in time, or no message or change arrived within the timeout."""


class JetStreamError(ServerError):
    """JetStream refused a request; the message is that of the server."""

    code: int
    """Status code as in HTTP, such as 400, 404 or 503; 0 if unknown."""
    err_code: int
    """Error code of nats-server's JetStream API; 0 if unknown."""

    def __init__(self, message: str, code: int = 0, err_code: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.err_code = err_code

    def __reduce__(self) -> tuple[type[JetStreamError], tuple[str, int, int]]:
        return type(self), (Exception.__str__(self), self.code, self.err_code)


class _NotFoundError(JetStreamError, KeyError):
    """Base class of the errors that `[]` and `del` raise for a missing item."""

    def __str__(self) -> str:
        # KeyError's own method would put the message in quotes.
        return Exception.__str__(self)


class StreamNotFoundError(_NotFoundError):
    """The stream does not exist."""


class StreamExistsError(JetStreamError):
    """A stream with this name, or with overlapping subjects, already exists."""


class ConsumerNotFoundError(_NotFoundError):
    """The consumer does not exist."""


class MessageNotFoundError(_NotFoundError):
    """The stream does not hold the message."""


class BucketNotFoundError(_NotFoundError):
    """The bucket or object store does not exist."""


class BucketExistsError(JetStreamError):
    """A bucket or object store with this name exists and has another configuration."""


class KeyNotFoundError(_NotFoundError):
    """The key has no value: it was never written, was deleted, or has expired."""


class WrongRevisionError(JetStreamError):
    """The key's last revision is not the expected one: another client has written the key."""


class KeyExistsError(WrongRevisionError):
    """The key already has a value."""


class ObjectNotFoundError(_NotFoundError):
    """The object does not exist, or was deleted."""


class ObjectExistsError(JetStreamError):
    """An object with this name already exists."""


class ObjectDamagedError(ServerError):
    """The stored data of an object is damaged: a chunk or the digest is missing or wrong.

    `get_file` leaves the target path unchanged.
    """

    bucket: str
    """Name of the bucket."""
    object: str
    """Name of the object."""
    chunk: int | None
    """Number of the missing or wrong chunk, counted from 1; `None` if the damaged chunk is unknown."""

    def __init__(self, message: str, bucket: str, name: str, chunk: int | None = None) -> None:
        super().__init__(message)
        self.bucket = bucket
        self.object = name
        self.chunk = chunk

    def __reduce__(self) -> tuple[type[ObjectDamagedError], tuple[str, str, str, int | None]]:
        return type(self), (str(self), self.bucket, self.object, self.chunk)
