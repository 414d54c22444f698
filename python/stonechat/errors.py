"""What can go wrong with a server; all of it is a [`ServerError`][stonechat.ServerError].

Where Python has an exception for the same thing, ours is that one as well: a port in use is an `OSError`, a missing
file a `FileNotFoundError`, a wrong value a `ValueError`.
"""

from __future__ import annotations

import errno as _errno

__all__ = [
    "ConfigError",
    "ConfigFileNotFoundError",
    "ConnectError",
    "ListenError",
    "NotRunningError",
    "NotSupportedError",
    "PortInUseError",
    "ReloadError",
    "ServerError",
    "ServerFailedError",
    "WrongProcessError",
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
