"""A message broker that speaks the NATS protocols, inside your Python process.

    import stonechat

    with stonechat.Server() as server:
        print(server.url)

The public names are imported at first use. pytest imports this package for its plugin in every run of an environment
that has it installed, so the import must be cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ._stonechat import NATS_VERSION as NATS_VERSION
    from ._stonechat import __version__ as __version__
    from .errors import BucketExistsError as BucketExistsError
    from .errors import BucketNotFoundError as BucketNotFoundError
    from .errors import ConfigError as ConfigError
    from .errors import ConfigFileNotFoundError as ConfigFileNotFoundError
    from .errors import ConnectError as ConnectError
    from .errors import ConsumerNotFoundError as ConsumerNotFoundError
    from .errors import JetStreamError as JetStreamError
    from .errors import KeyExistsError as KeyExistsError
    from .errors import KeyNotFoundError as KeyNotFoundError
    from .errors import ListenError as ListenError
    from .errors import MessageNotFoundError as MessageNotFoundError
    from .errors import NoAnswerError as NoAnswerError
    from .errors import NotAllowedError as NotAllowedError
    from .errors import NotRunningError as NotRunningError
    from .errors import NotSupportedError as NotSupportedError
    from .errors import ObjectDamagedError as ObjectDamagedError
    from .errors import ObjectExistsError as ObjectExistsError
    from .errors import ObjectNotFoundError as ObjectNotFoundError
    from .errors import PortInUseError as PortInUseError
    from .errors import ReloadError as ReloadError
    from .errors import RuleError as RuleError
    from .errors import ServerError as ServerError
    from .errors import ServerFailedError as ServerFailedError
    from .errors import StreamExistsError as StreamExistsError
    from .errors import StreamNotFoundError as StreamNotFoundError
    from .errors import WrongProcessError as WrongProcessError
    from .errors import WrongRevisionError as WrongRevisionError
    from .kv import AsyncBucket as AsyncBucket
    from .kv import AsyncWatch as AsyncWatch
    from .kv import Bucket as Bucket
    from .kv import BucketInfo as BucketInfo
    from .kv import Entry as Entry
    from .kv import Watch as Watch
    from .logs import TRACE as TRACE
    from .logs import LogLine as LogLine
    from .messages import Peer as Peer
    from .messages import RecordedMessage as RecordedMessage
    from .objects import AsyncObjectStore as AsyncObjectStore
    from .objects import AsyncObjectWatch as AsyncObjectWatch
    from .objects import ObjectInfo as ObjectInfo
    from .objects import ObjectStore as ObjectStore
    from .objects import ObjectWatch as ObjectWatch
    from .objects import StoreInfo as StoreInfo
    from .options import ServerOptions as ServerOptions
    from .server import Server as Server
    from .stats import ServerStats as ServerStats
    from .streams import AsyncConsumers as AsyncConsumers
    from .streams import AsyncStream as AsyncStream
    from .streams import AsyncStreams as AsyncStreams
    from .streams import ConsumerInfo as ConsumerInfo
    from .streams import Consumers as Consumers
    from .streams import StoredMessage as StoredMessage
    from .streams import Stream as Stream
    from .streams import StreamInfo as StreamInfo
    from .streams import Streams as Streams

__all__ = [
    "NATS_VERSION",
    "TRACE",
    "AsyncBucket",
    "AsyncConsumers",
    "AsyncObjectStore",
    "AsyncObjectWatch",
    "AsyncStream",
    "AsyncStreams",
    "AsyncWatch",
    "Bucket",
    "BucketExistsError",
    "BucketInfo",
    "BucketNotFoundError",
    "ConfigError",
    "ConfigFileNotFoundError",
    "ConnectError",
    "ConsumerInfo",
    "ConsumerNotFoundError",
    "Consumers",
    "Entry",
    "JetStreamError",
    "KeyExistsError",
    "KeyNotFoundError",
    "ListenError",
    "LogLine",
    "MessageNotFoundError",
    "NoAnswerError",
    "NotAllowedError",
    "NotRunningError",
    "NotSupportedError",
    "ObjectDamagedError",
    "ObjectExistsError",
    "ObjectInfo",
    "ObjectNotFoundError",
    "ObjectStore",
    "ObjectWatch",
    "Peer",
    "PortInUseError",
    "RecordedMessage",
    "ReloadError",
    "RuleError",
    "Server",
    "ServerError",
    "ServerFailedError",
    "ServerOptions",
    "ServerStats",
    "StoreInfo",
    "StoredMessage",
    "Stream",
    "StreamExistsError",
    "StreamInfo",
    "StreamNotFoundError",
    "Streams",
    "Watch",
    "WrongProcessError",
    "WrongRevisionError",
    "__version__",
]

_HOMES = {
    "AsyncBucket": "kv",
    "AsyncConsumers": "streams",
    "AsyncObjectStore": "objects",
    "AsyncObjectWatch": "objects",
    "AsyncStream": "streams",
    "AsyncStreams": "streams",
    "AsyncWatch": "kv",
    "Bucket": "kv",
    "BucketInfo": "kv",
    "ConsumerInfo": "streams",
    "Consumers": "streams",
    "Entry": "kv",
    "LogLine": "logs",
    "NATS_VERSION": "_stonechat",
    "ObjectInfo": "objects",
    "ObjectStore": "objects",
    "ObjectWatch": "objects",
    "Peer": "messages",
    "RecordedMessage": "messages",
    "Server": "server",
    "ServerOptions": "options",
    "ServerStats": "stats",
    "StoreInfo": "objects",
    "StoredMessage": "streams",
    "Stream": "streams",
    "StreamInfo": "streams",
    "Streams": "streams",
    "TRACE": "logs",
    "Watch": "kv",
    "__version__": "_stonechat",
}


# Type checkers use the imports above. With this function they would accept any name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(f".{_HOMES.get(name, 'errors')}", __name__)
        value = getattr(module, name)
        globals()[name] = value
        return value


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magic `%stonechat` to IPython or a notebook; `%load_ext stonechat` calls this."""
    from ._ipython import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Stop the server and tables that `%stonechat` has started, and remove the magic."""
    from ._ipython import unload

    unload(shell)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
