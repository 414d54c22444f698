"""The console scripts `stonechat` and `stonechat-server`.

Both hand their arguments to Rust and exit with its code. The commands are Rust programs that happen to be started
by Python, so they get the signals as a Rust program has them.
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
    # Python's own SIGINT handler would only set a flag that nobody looks at while Rust runs. SIGPIPE stays ignored,
    # as Python has it and as every Rust program has it: a broken pipe is an error that the commands handle, and the
    # default action would end a server when a client leaves in the middle of a write.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(command([name, *sys.argv[1:]]))
