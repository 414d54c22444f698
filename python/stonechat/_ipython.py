"""The IPython extension (`%load_ext stonechat`): a server in the kernel, with live tables."""

from __future__ import annotations

import argparse
import itertools
import shlex
from typing import TYPE_CHECKING, Any, NoReturn

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class

from . import _live
from .errors import ServerError
from .server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

_NAME = "%stonechat"
_LISTED = 1000
"""Largest number of keys or streams that completion considers."""


class _Parser(argparse.ArgumentParser):
    """A parser that raises errors instead of ending the kernel."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().strip()}")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:  # noqa: ARG002 - argparse's signature
        raise _HelpShownError


class _HelpShownError(Exception):
    pass


def _parser() -> _Parser:
    parser = _Parser(prog=_NAME, description="A NATS server in this kernel.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    start = commands.add_parser("start", help="start the server, with JetStream")
    start.add_argument("--port", type=int, default=0, help="port for clients (default: any free one)")
    start.add_argument("--monitor-port", type=int, help="port for monitoring (0: any free one)")
    start.add_argument("--store", help="folder for streams, which is kept; by default one that goes with the server")
    start.add_argument("--config", help="configuration file")
    start.add_argument("--as", dest="name", default="server", help="variable that is the server (default: server)")
    commands.add_parser("stop", help="stop the server and all tables")
    commands.add_parser("status", help="show the server")

    sub = commands.add_parser("sub", help="follow the messages of a subject")
    sub.add_argument("subject")
    pub = commands.add_parser("pub", help="publish a message")
    pub.add_argument("subject")
    pub.add_argument("text", nargs="*")
    pub.add_argument("--count", type=int, default=1, help="publish it so many times")
    pub.add_argument("-H", "--header", action="append", default=[], metavar="NAME:VALUE")
    kv = commands.add_parser("kv", help="list buckets, follow one, show a key, or write it")
    kv.add_argument("bucket", nargs="?")
    kv.add_argument("key", nargs="?")
    kv.add_argument("value", nargs="*")
    kv.add_argument("--delete", action="store_true", help="delete the key")
    top = commands.add_parser("top", help="follow the connections")
    for table in (sub, kv, top):
        table.add_argument("--for", dest="seconds", type=float, help="end after so many seconds")
    for table in (sub, kv):
        table.add_argument("--count", type=int, help="end after so many changes")
    return parser


_OPTIONS = {
    "start": ["--port", "--monitor-port", "--store", "--config", "--as"],
    "sub": ["--for", "--count"],
    "pub": ["--count", "--header"],
    "kv": ["--for", "--count", "--delete"],
    "top": ["--for"],
}
_COMMANDS = ["start", "stop", "status", "sub", "pub", "kv", "top"]


@magics_class
class StonechatMagics(Magics):
    """The magic `%stonechat` and the server that it has started."""

    shell: Any

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell=shell)
        self.server: Server | None = None
        self.tables: list[_live.Table] = []
        self._parser = _parser()

    @line_magic
    def stonechat(self, line: str) -> object:
        """Run a server in this kernel.

        %stonechat start            start the server, show it, and assign it to the variable `server`
        %stonechat sub SUBJECT      show a live table of the messages on a subject
        %stonechat pub SUBJECT TEXT publish a message
        %stonechat kv [BUCKET [KEY [VALUE]]]
                                    list buckets, show a live table of a bucket, show a key, or write it
        %stonechat top              show a live table of the connections
        %stonechat status|stop      show or stop the server
        """
        try:
            arguments = self._parser.parse_args(shlex.split(line))
        except _HelpShownError:
            return None
        except ValueError as error:
            raise UsageError(f"{error}: close the quotes") from None
        do: Callable[[argparse.Namespace], object] = getattr(self, f"_{arguments.command}")
        try:
            return do(arguments)
        except ServerError as error:
            raise UsageError(str(error)) from None

    # The server

    def _start(self, arguments: argparse.Namespace) -> object:
        if self.server is not None and self.server.ready:
            return self.server
        server = Server(
            arguments.config,
            port=arguments.port,
            monitor_port=arguments.monitor_port,
            store_dir=arguments.store,
            jetstream=True,
        ).start()
        self.server = server
        name, names = arguments.name, self.shell.user_ns
        if not name.isidentifier() or not isinstance(names.get(name, server), Server):
            print(f"{name} is something else already: name a variable with --as")
        else:
            names[name] = server
        return server

    def _stop(self, _: argparse.Namespace) -> None:
        self.close()

    def _status(self, _: argparse.Namespace) -> object:
        return self._running()

    def _running(self) -> Server:
        if self.server is None or not self.server.ready:
            raise UsageError(f"no server runs: {_NAME} start")
        return self.server

    def close(self) -> None:
        """End all tables and stop the server."""
        for table in self.tables:
            table.close()
        self.tables.clear()
        server, self.server = self.server, None
        if server is not None:
            server.stop()

    # Messages

    def _pub(self, arguments: argparse.Namespace) -> None:
        connection = self._running()._connection(None)
        headers = {}
        for header in arguments.header:
            name, mark, value = header.partition(":")
            if not mark:
                raise UsageError(f"a header is NAME:VALUE, not {header}")
            headers[name] = value.strip()
        from . import _rules

        data = " ".join(arguments.text).encode()
        for _ in range(arguments.count):
            connection.publish(_rules.subject(arguments.subject), data, headers)

    def _sub(self, arguments: argparse.Namespace) -> object:
        return self._shown(_live.Messages(self._running(), arguments.subject), arguments)

    def _top(self, arguments: argparse.Namespace) -> object:
        return self._shown(_live.Connections(self._running()), arguments)

    def _shown(self, table: _live.Table, arguments: argparse.Namespace) -> object:
        """Show a live table: in the background in a notebook, until Ctrl-C in a terminal."""
        limits = _live.Limits(arguments.seconds, getattr(arguments, "count", None))
        self.tables = [one for one in self.tables if not one.is_over]
        if not _can_update(self.shell):
            table.follow(print, limits)
            return None
        self.tables.append(table)
        table.begin(limits)
        return None

    # Buckets

    def _kv(self, arguments: argparse.Namespace) -> object:
        server = self._running()
        if arguments.bucket is None:
            return _live.Buckets(server)
        # Only a write creates the bucket.
        bucket = server.kv(arguments.bucket, create=bool(arguments.value))
        if arguments.key is None:
            return self._shown(_live.Entries(bucket), arguments)
        if arguments.delete:
            bucket.delete(arguments.key)
            return None
        if arguments.value:
            bucket[arguments.key] = " ".join(arguments.value).encode()
        return bucket.entry(arguments.key)

    # Completion

    def complete(self, _: object, event: Any) -> list[str]:
        """Return the completions for the last word of a line."""
        words = event.line.split()
        if not event.line.endswith((" ", "\t")) and words:
            words = words[:-1]
        if len(words) <= 1:
            return _COMMANDS
        command, *rest = words[1:]
        if event.symbol.startswith("-"):
            return _OPTIONS.get(command, [])
        try:
            found = self._names(command, [word for word in rest if not word.startswith("-")])
        except ServerError:
            found = []
        return found + _OPTIONS.get(command, [])

    def _names(self, command: str, rest: list[str]) -> list[str]:
        """Return the buckets, keys or subjects of the server that fit the command."""
        server = self.server
        if server is None or not server.ready:
            return []
        if command == "kv" and not rest:
            return _live.bucket_names(server)
        if command == "kv" and len(rest) == 1:
            found = server.kv(rest[0], create=False).find(values=False)
            return [entry.key for entry in itertools.islice(found, _LISTED)]
        if command in ("sub", "pub") and not rest:
            names = server.streams.names()[:_LISTED]
            return [subject for name in names for subject in server.streams[name].info().subjects]
        return []


def _can_update(shell: Any) -> bool:
    """Whether shown output can be updated later: true in notebooks, false in terminals."""
    return getattr(shell, "kernel", None) is not None


def load(shell: Any) -> None:
    """Register the magic and its completion with a shell."""
    magics = shell.magics_manager.registry.get(StonechatMagics.__name__)
    if magics is None:
        magics = StonechatMagics(shell)
        shell.register_magics(magics)
    shell.set_hook("complete_command", magics.complete, str_key=_NAME)
    shell.set_hook("complete_command", magics.complete, str_key="stonechat")


def unload(shell: InteractiveShell) -> None:
    """Stop the server and tables of the magic, and remove it."""
    magics = shell.magics_manager.registry.pop(StonechatMagics.__name__, None)
    if magics is not None:
        magics.close()
    shell.magics_manager.magics["line"].pop("stonechat", None)
