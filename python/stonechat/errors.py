"""What can go wrong with a server; all of it is a [`ServerError`][stonechat.ServerError].

Where Python has an exception for the same thing, ours is that one as well: a port in use is an `OSError`, a missing
file a `FileNotFoundError`, a wrong value a `ValueError`.
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
    """Base of all errors of this package."""


class ListenError(ServerError, OSError):
    """The server can't listen on its address."""

    host: str
    """Address that was asked for."""
    port: int
    """Port that was asked for."""

    def __init__(self, message: str, errno: int | None, host: str, port: int) -> None:
        super().__init__(errno, message)
        self.host = host
        self.port = port

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[type[ListenError], tuple[str, int | None, str, int]]:
        return type(self), (str(self), self.errno, self.host, self.port)


class PortInUseError(ListenError):
    """Another program (or another server of this one) has the port already; `errno` is `EADDRINUSE`."""


class ConfigError(ServerError, ValueError):
    """An option or the configuration is wrong.

    `file`, `line` and `column` say where, if the place is known: an option given as a keyword has none.
    """

    file: str | None
    """The file, as it was named."""
    line: int | None
    """Line, from 1."""
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
    """A client can't connect to the server, or is not let in."""


class NotSupportedError(ServerError, NotImplementedError):
    """This version can't do what was asked for."""


class NotRunningError(ServerError, RuntimeError):
    """The server was asked something that only a running server knows."""


class ReloadError(ServerError):
    """The new configuration was refused; the old one goes on."""


class ServerFailedError(ServerError, RuntimeError):
    """The server has ended by itself because of an internal error, which its message tells and its log too."""


class WrongProcessError(ServerError, RuntimeError):
    """The server belongs to the process that started it; a forked child can't use it."""


# Streams, buckets and objects


class RuleError(ServerError, ValueError):
    """A name, a key, a size or a revision breaks a rule, which the message tells; nothing was sent."""


class NotAllowedError(ServerError, PermissionError):
    """The user has no permission for this; the message is the server's."""

    def __init__(self, message: str) -> None:
        super().__init__(_errno.EACCES, message)

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> tuple[type[NotAllowedError], tuple[str]]:
        return type(self), (str(self),)


class NoAnswerError(ServerError, TimeoutError):
    """The server did not answer in time, or nothing came within the time that was given."""


class JetStreamError(ServerError):
    """JetStream refuses what was asked, with its own words."""

    code: int
    """The kind of error, as in HTTP: 400, 404, 503 and so on."""
    err_code: int
    """Which error exactly, by nats-server's numbers; 0 if none was given."""

    def __init__(self, message: str, code: int = 0, err_code: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.err_code = err_code

    def __reduce__(self) -> tuple[type[JetStreamError], tuple[str, int, int]]:
        return type(self), (Exception.__str__(self), self.code, self.err_code)


class _NotFoundError(JetStreamError, KeyError):
    """What `[]` and `del` raise for what is not there."""

    def __str__(self) -> str:
        # That of KeyError puts the message in quotes.
        return Exception.__str__(self)


class StreamNotFoundError(_NotFoundError):
    """There is no such stream."""


class StreamExistsError(JetStreamError):
    """There is a stream of this name, or one that takes the same subjects."""


class ConsumerNotFoundError(_NotFoundError):
    """There is no such consumer."""


class MessageNotFoundError(_NotFoundError):
    """The stream has no such message."""


class BucketNotFoundError(_NotFoundError):
    """There is no such bucket."""


class BucketExistsError(JetStreamError):
    """There is a bucket of this name with another configuration."""


class KeyNotFoundError(_NotFoundError):
    """The key has no value: it never had one, or was deleted."""


class WrongRevisionError(JetStreamError):
    """Somebody else has written the key meanwhile: its last revision is not the one that was named."""


class KeyExistsError(WrongRevisionError):
    """The key has a value already."""


class ObjectNotFoundError(_NotFoundError):
    """There is no such object."""


class ObjectExistsError(JetStreamError):
    """There is an object of this name."""


class ObjectDamagedError(ServerError):
    """What the store has of an object does not fit together; no file was written."""

    bucket: str
    """The bucket."""
    object: str
    """The object."""
    chunk: int | None
    """The chunk that is missing or wrong, counted from 1; `None` if only the whole is known to be wrong."""

    def __init__(self, message: str, bucket: str, name: str, chunk: int | None = None) -> None:
        super().__init__(message)
        self.bucket = bucket
        self.object = name
        self.chunk = chunk

    def __reduce__(self) -> tuple[type[ObjectDamagedError], tuple[str, str, str, int | None]]:
        return type(self), (str(self), self.bucket, self.object, self.chunk)
