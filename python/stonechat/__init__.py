"""A message broker that speaks the NATS protocols, inside your Python process.

    import stonechat

    with stonechat.Server() as server:
        print(server.url)

The names below are loaded when they are first used: the pytest plugin is imported in every pytest run of an
environment that has this package, and must cost nothing there.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._stonechat import NATS_VERSION as NATS_VERSION
    from ._stonechat import __version__ as __version__
    from .errors import ConfigError as ConfigError
    from .errors import ConfigFileNotFoundError as ConfigFileNotFoundError
    from .errors import ConnectError as ConnectError
    from .errors import ListenError as ListenError
    from .errors import NotRunningError as NotRunningError
    from .errors import NotSupportedError as NotSupportedError
    from .errors import PortInUseError as PortInUseError
    from .errors import ReloadError as ReloadError
    from .errors import ServerError as ServerError
    from .errors import ServerFailedError as ServerFailedError
    from .errors import WrongProcessError as WrongProcessError
    from .logs import TRACE as TRACE
    from .logs import LogLine as LogLine
    from .messages import Peer as Peer
    from .messages import RecordedMessage as RecordedMessage
    from .options import ServerOptions as ServerOptions
    from .server import Server as Server
    from .stats import ServerStats as ServerStats

__all__ = [
    "NATS_VERSION",
    "TRACE",
    "ConfigError",
    "ConfigFileNotFoundError",
    "ConnectError",
    "ListenError",
    "LogLine",
    "NotRunningError",
    "NotSupportedError",
    "Peer",
    "PortInUseError",
    "RecordedMessage",
    "ReloadError",
    "Server",
    "ServerError",
    "ServerFailedError",
    "ServerOptions",
    "ServerStats",
    "WrongProcessError",
    "__version__",
]

_HOMES = {
    "NATS_VERSION": "_stonechat",
    "TRACE": "logs",
    "LogLine": "logs",
    "Peer": "messages",
    "RecordedMessage": "messages",
    "Server": "server",
    "ServerOptions": "options",
    "ServerStats": "stats",
    "__version__": "_stonechat",
}


# Type checkers know the names from above; this would make them believe in any name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(f".{_HOMES.get(name, 'errors')}", __name__)
        value = getattr(module, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
