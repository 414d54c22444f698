"""The console scripts `stonechat` and `stonechat-server`.

Both pass their arguments to Rust and exit with its exit code. Signals are handled as in a Rust program, not as in a
Python program.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main", "server_main"]


def main() -> NoReturn:
    """Run the `stonechat` command and exit."""
    from ._stonechat import run_cli

    _exit_with(run_cli, "stonechat")


def server_main() -> NoReturn:
    """Run the `stonechat-server` command and exit."""
    from ._stonechat import run_server

    _exit_with(run_server, "stonechat-server")


def _exit_with(command: Callable[[list[str]], int], name: str) -> NoReturn:
    # Python's SIGINT handler only sets a flag, which is not checked while Rust runs. SIGPIPE stays ignored, as in every
    # Rust program: the commands handle a broken pipe as an error. The default action would end a server when a client
    # disconnects during a write.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(command([name, *sys.argv[1:]]))
