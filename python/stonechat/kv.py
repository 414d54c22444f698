"""Key-value buckets of a server in this process: dictionaries of bytes that are kept, watched and shared."""

from __future__ import annotations

from collections.abc import ItemsView, MutableMapping, ValuesView
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from ._kv import BucketInfo, Entry, Rules
from ._link import run, run_async
from ._watch import Awaiting, Waiting
from .errors import KeyExistsError, KeyNotFoundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from typing import Literal

    from typing_extensions import Unpack

    from ._link import Access, Connection, Ops
    from ._reader import Reader
    from .options import Seconds


T = TypeVar("T")

__all__ = ["AsyncBucket", "AsyncWatch", "Bucket", "BucketInfo", "BucketOptions", "Entry", "Watch"]


class BucketOptions(TypedDict, total=False):
    """What can be said of a bucket."""

    history: int
    """Values that are kept of each key, 1 to 64; 1 by default."""
    ttl: Seconds | None
    """Time after which values go."""
    marker_ttl: Seconds | None
    """Lets keys have times of their own, and is the time that a marker stays where a key has expired."""
    max_bytes: int | None
    """Bytes that the bucket may take; a full one refuses new values."""
    max_value_size: int | None
    """The longest value in bytes."""
    storage: Literal["file", "memory"]
    """Where it is kept: `file` by default."""
    compression: bool
    """Compress what lies on disk."""
    description: str
    """What it is for."""
    metadata: Mapping[str, str]
    """Notes of your own."""
    mirror: str | None
    """The bucket that this one is a copy of."""
    sources: Sequence[str]
    """Buckets whose keys are taken over too."""
    republish: tuple[str, str] | None
    """Which changes are published again, as a subject filter, and where."""
    placement: Mapping[str, Any] | None
    """Servers to keep it on: `cluster` and `tags`."""
    replicas: int
    """How many servers keep a copy."""


class Bucket(MutableMapping[str, bytes]):
    """A bucket, as a dictionary of bytes. [`Server.kv`][stonechat.Server.kv] makes it.

        config = server.kv("CONFIG", history=5)
        config["db.url"] = b"pg://one"
        config.create("db.pool", b"10")
        config.replace("db.pool", b"20", revision=config.entry("db.pool").revision)
        for entry in config.find("db.*"):
            print(entry.key, entry.value)

    Every access asks the server, so that what other clients write is seen at once. All methods may be called from any
    thread; those that wait release the GIL. After a restart of the server the bucket goes on.
    """

    def __init__(self, access: Access, rules: Rules) -> None:
        self._access = access
        self._rules = rules

    def _run(self, ops: Callable[[Connection], Ops[T]]) -> T:
        return self._access.run(ops)

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self._rules.name

    # A mapping

    def __getitem__(self, key: str) -> bytes:
        return self._run(lambda c: self._rules.value(c, key)).value

    def __setitem__(self, key: str, value: bytes) -> None:
        self.put(key, value)

    def __delitem__(self, key: str) -> None:
        self._run(lambda c: self._rules.discard(c, key))

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        entry = self._run(lambda c: self._rules.entry(c, key))
        return entry is not None and entry.operation == "put"

    def __iter__(self) -> Iterator[str]:
        return (entry.key for entry in self._find((), values=False))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def items(self) -> ItemsView[str, bytes]:
        """Keys and values, read in one go."""
        return _Items(self)

    def values(self) -> ValuesView[bytes]:
        """Values, read in one go."""
        return _Values(self)

    def pop(self, key: str, *default: Any) -> Any:
        """Delete a key and return the value that was deleted; the default if there is none."""
        try:
            return self._run(lambda c: self._rules.discard(c, key))
        except KeyNotFoundError:
            if default:
                return default[0]
            raise

    def setdefault(self, key: str, default: bytes = b"") -> bytes:
        """The value of a key; if it has none, write the default, unless somebody else is faster."""
        try:
            self.create(key, default)
        except KeyExistsError:
            return self.get(key, default)
        return default

    def clear(self) -> None:
        """Remove all keys with their history, in one go."""
        self._run(self._rules.clear)

    # Keys

    def entry(self, key: str, *, revision: int | None = None) -> Entry:
        """The value of a key with its revision and its time; that of an earlier revision if one is named.

        Raises:
            KeyNotFoundError: If there is none; a deletion is none.
            RuleError: If this can't be a key.
        """
        return self._run(lambda c: self._rules.value(c, key, revision))

    def put(self, key: str, value: bytes) -> int:
        """Write a value, whatever is there, and return its revision."""
        return self._run(lambda c: self._rules.put(c, key, value, {}))

    def create(self, key: str, value: bytes, *, ttl: Seconds | None = None) -> int:
        """Write a value if the key has none, or was deleted, and return its revision.

        Args:
            key: The key.
            value: The value.
            ttl: Time after which the key goes; the bucket needs `marker_ttl`.

        Raises:
            KeyExistsError: If the key has a value.
        """
        return self._run(lambda c: self._rules.create(c, key, value, ttl))

    def replace(self, key: str, value: bytes, *, revision: int, ttl: Seconds | None = None) -> int:
        """Write a value if the key's last revision is the one named, and return the new one; 0 stands for no value.

        Raises:
            WrongRevisionError: If somebody else has written the key meanwhile.
        """
        return self._run(lambda c: self._rules.replace(c, key, value, revision, ttl))

    def delete(self, key: str, *, revision: int | None = None) -> int:
        """Mark a key as deleted, and return the marker's revision; its history stays.

        Unlike `del` it does not ask whether there is a value.

        Raises:
            WrongRevisionError: If a revision is named and the key's last one is another.
        """
        return self._run(lambda c: self._rules.remove(c, key, revision, purge=False))

    def purge(self, key: str, *, revision: int | None = None, ttl: Seconds | None = None) -> int:
        """Delete a key with its history, and return the marker's revision.

        Args:
            key: The key.
            revision: Only if this is the key's last revision.
            ttl: Time after which the marker goes too; the bucket needs `marker_ttl`.
        """
        return self._run(lambda c: self._rules.remove(c, key, revision, purge=True, ttl=ttl))

    def history(self, key: str) -> list[Entry]:
        """All that the bucket keeps of a key, the oldest first, markers included; empty if there is nothing."""
        from ._rules import key as checked

        return self._run(lambda c: self._rules.all(c, (checked(key),), history=True))

    def find(self, *patterns: str, values: bool = True) -> Iterator[Entry]:
        """The keys that patterns stand for, with their values, in the order of their revisions.

        The server filters: what does not match is not read. Entries come as they are read, so there may be any number.

        Args:
            patterns: Keys; `*` stands for one token, and `>` for the rest. All keys by default.
            values: Read the values too; without them entries are short.
        """
        return self._find(patterns, values=values)

    def _find(self, patterns: tuple[str, ...], *, values: bool) -> Iterator[Entry]:
        reader = self._rules.reader(patterns, headers_only=not values)
        self._run(lambda c: self._rules.begin(c, reader))
        return self._stored(reader)

    def _stored(self, reader: Reader) -> Iterator[Entry]:
        try:
            while (found := run(reader.next_stored())) is not None:
                entry = self._rules.delivered(found)
                if entry.operation == "put":
                    yield entry
        finally:
            reader.close()

    def watch(
        self,
        *patterns: str,
        history: bool = False,
        updates_only: bool = False,
        from_revision: int | None = None,
        values: bool = True,
        deletes: bool = True,
    ) -> Watch:
        """Watch keys: the values that are there, then every change, until it is closed.

            with config.watch("db.*") as changes:
                for entry in changes:
                    print(entry.operation, entry.key)

        It goes on over restarts of the server. From other threads, [`close`][stonechat.Watch.close] ends it at once.

        Args:
            patterns: Keys, or patterns of keys. All keys by default.
            history: Begin with all values that the bucket keeps, not only the last ones.
            updates_only: Begin with the next change.
            from_revision: Begin with this revision.
            values: Deliver values too.
            deletes: Deliver deletions too.
        """
        reader = _watching(self._rules, patterns, history, updates_only, from_revision, values)
        self._run(lambda c: self._rules.begin(c, reader))
        return Watch(self._rules, reader, _wanted(deletes))

    # The bucket

    def info(self) -> BucketInfo:
        """Configuration and state of the bucket."""
        return self._run(self._rules.info)

    def configure(self, **options: Unpack[BucketOptions]) -> BucketInfo:
        """Change the configuration; what is not named stays."""
        return self._run(lambda c: self._rules.configure(c, options))

    def compact(self, *, older_than: Seconds = 0.0) -> int:
        """Remove the markers of deleted keys and the history before them, and return how many messages went.

        Args:
            older_than: Keep markers that are younger, without the history before them.
        """
        return self._run(lambda c: self._rules.compact(c, older_than))

    def drop(self) -> None:
        """Delete the bucket with all that is in it."""
        self._run(self._rules.drop)

    def __eq__(self, other: object) -> bool:
        # Not by content, as mappings: that would read both.
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<stonechat.Bucket {self.name}>"

    def _repr_html_(self) -> str:
        from ._html import bucket

        return bucket(self)


class _Items(ItemsView[str, bytes]):
    _mapping: Bucket

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return ((entry.key, entry.value) for entry in self._mapping.find())


class _Values(ValuesView[bytes]):
    _mapping: Bucket

    def __iter__(self) -> Iterator[bytes]:
        return (entry.value for entry in self._mapping.find())

    def __contains__(self, value: object) -> bool:
        return any(value == one for one in self)


def _watching(
    rules: Rules,
    patterns: tuple[str, ...],
    history: bool,
    updates_only: bool,
    from_revision: int | None,
    values: bool,
) -> Reader:
    if history + updates_only + (from_revision is not None) > 1:
        raise TypeError("history, updates_only and from_revision each say where to begin: name one of them")
    policy = "all" if history else "new" if updates_only else "last_per_subject"
    return rules.reader(patterns, policy=policy, start=from_revision, headers_only=not values)


def _wanted(deletes: bool) -> Callable[[Entry], bool]:
    return lambda entry: deletes or entry.operation == "put"


class Watch(Waiting[Entry]):
    """The changes of a bucket, one after the other; iterating ends when the watch is closed."""

    _what = "bucket"


class AsyncWatch(Awaiting[Entry]):
    """The changes of a bucket, for `async for`; iterating ends when the watch is closed."""

    _what = "bucket"


class AsyncBucket:
    """A bucket for event loops: what [`Bucket`][stonechat.Bucket] does, to be awaited.

        config = await server.kv_async("CONFIG")
        await config.put("db.url", b"pg://one")
        async for entry in config.watch():
            print(entry.key, entry.value)

    [`Server.kv_async`][stonechat.Server.kv_async] makes it. It works with asyncio and trio.
    """

    def __init__(self, access: Access, rules: Rules) -> None:
        self._access = access
        self._rules = rules

    async def _run(self, ops: Callable[[Connection], Ops[T]]) -> T:
        return await self._access.run_async(ops)

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self._rules.name

    async def get(self, key: str, default: bytes | None = None) -> bytes | None:
        """The value of a key, or the default if there is none."""
        entry = await self._run(lambda c: self._rules.entry(c, key))
        return default if entry is None or entry.operation != "put" else entry.value

    async def entry(self, key: str, *, revision: int | None = None) -> Entry:
        """Like [`Bucket.entry`][stonechat.Bucket.entry]."""
        return await self._run(lambda c: self._rules.value(c, key, revision))

    async def put(self, key: str, value: bytes) -> int:
        """Like [`Bucket.put`][stonechat.Bucket.put]."""
        return await self._run(lambda c: self._rules.put(c, key, value, {}))

    async def create(self, key: str, value: bytes, *, ttl: Seconds | None = None) -> int:
        """Like [`Bucket.create`][stonechat.Bucket.create]."""
        return await self._run(lambda c: self._rules.create(c, key, value, ttl))

    async def replace(self, key: str, value: bytes, *, revision: int, ttl: Seconds | None = None) -> int:
        """Like [`Bucket.replace`][stonechat.Bucket.replace]."""
        return await self._run(lambda c: self._rules.replace(c, key, value, revision, ttl))

    async def delete(self, key: str, *, revision: int | None = None) -> int:
        """Like [`Bucket.delete`][stonechat.Bucket.delete]."""
        return await self._run(lambda c: self._rules.remove(c, key, revision, purge=False))

    async def purge(self, key: str, *, revision: int | None = None, ttl: Seconds | None = None) -> int:
        """Like [`Bucket.purge`][stonechat.Bucket.purge]."""
        return await self._run(lambda c: self._rules.remove(c, key, revision, purge=True, ttl=ttl))

    async def history(self, key: str) -> list[Entry]:
        """Like [`Bucket.history`][stonechat.Bucket.history]."""
        from ._rules import key as checked

        return await self._run(lambda c: self._rules.all(c, (checked(key),), history=True))

    async def keys(self, *patterns: str) -> list[str]:
        """The keys that patterns stand for, all by default; the server filters."""
        return [entry.key async for entry in self.find(*patterns, values=False)]

    async def find(self, *patterns: str, values: bool = True) -> AsyncIterator[Entry]:
        """Like [`Bucket.find`][stonechat.Bucket.find], for `async for`."""
        reader = self._rules.reader(patterns, headers_only=not values)
        try:
            await self._run(lambda c: self._rules.begin(c, reader))
            while (found := await run_async(reader.next_stored())) is not None:
                entry = self._rules.delivered(found)
                if entry.operation == "put":
                    yield entry
        finally:
            reader.close()

    def watch(
        self,
        *patterns: str,
        history: bool = False,
        updates_only: bool = False,
        from_revision: int | None = None,
        values: bool = True,
        deletes: bool = True,
    ) -> AsyncWatch:
        """Like [`Bucket.watch`][stonechat.Bucket.watch], for `async for`.

        It begins with `async with`, or when its first entry is awaited.
        """
        reader = _watching(self._rules, patterns, history, updates_only, from_revision, values)
        return AsyncWatch(self._rules, reader, _wanted(deletes))

    async def info(self) -> BucketInfo:
        """Like [`Bucket.info`][stonechat.Bucket.info]."""
        return await self._run(self._rules.info)

    async def configure(self, **options: Unpack[BucketOptions]) -> BucketInfo:
        """Like [`Bucket.configure`][stonechat.Bucket.configure]."""
        return await self._run(lambda c: self._rules.configure(c, options))

    async def clear(self) -> None:
        """Like [`Bucket.clear`][stonechat.Bucket.clear]."""
        await self._run(self._rules.clear)

    async def compact(self, *, older_than: Seconds = 0.0) -> int:
        """Like [`Bucket.compact`][stonechat.Bucket.compact]."""
        return await self._run(lambda c: self._rules.compact(c, older_than))

    async def drop(self) -> None:
        """Like [`Bucket.drop`][stonechat.Bucket.drop]."""
        await self._run(self._rules.drop)

    def __repr__(self) -> str:
        return f"<stonechat.AsyncBucket {self.name}>"
