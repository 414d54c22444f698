"""Key-value buckets of a server in this process: dictionaries of bytes that clients can share and watch."""

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
    """Configuration options of a bucket."""

    history: int
    """Number of values kept per key, 1 to 64; 1 by default."""
    ttl: Seconds | None
    """Time after which values expire."""
    marker_ttl: Seconds | None
    """Time for which the delete marker of an expired key is kept. Setting it also allows a `ttl` for single keys."""
    max_bytes: int | None
    """Largest size of the bucket in bytes; a full bucket refuses new values."""
    max_value_size: int | None
    """Largest size of a value in bytes."""
    storage: Literal["file", "memory"]
    """Storage type, `file` by default."""
    compression: bool
    """Compress the data on disk."""
    description: str
    """Description of the bucket."""
    metadata: Mapping[str, str]
    """Metadata of your own."""
    mirror: str | None
    """Name of the bucket that this bucket mirrors."""
    sources: Sequence[str]
    """Names of buckets whose entries are copied into this bucket."""
    republish: tuple[str, str] | None
    """Subject filter and destination: the server publishes changes that match the filter again, on the destination."""
    placement: Mapping[str, Any] | None
    """Servers that store the bucket: `cluster` and `tags`."""
    replicas: int
    """Number of servers that keep a copy."""


class Bucket(MutableMapping[str, bytes]):
    """A key-value bucket, used like a dictionary of bytes. [`Server.kv`][stonechat.Server.kv] returns it.

        config = server.kv("CONFIG", history=5)
        config["db.url"] = b"pg://one"
        config.create("db.pool", b"10")
        config.replace("db.pool", b"20", revision=config.entry("db.pool").revision)
        for entry in config.find("db.*"):
            print(entry.key, entry.value)

    Every access reads from the server, so changes by other clients are visible at once. All methods may be called from
    any thread; those that wait release the GIL. The object stays usable after a restart of the server.
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
        """Return a view of the keys and values. Each iteration reads all of them with one consumer."""
        return _Items(self)

    def values(self) -> ValuesView[bytes]:
        """Return a view of the values. Each iteration reads all of them with one consumer."""
        return _Values(self)

    def pop(self, key: str, *default: Any) -> Any:
        """Delete a key and return its value, or the default if the key has no value."""
        try:
            return self._run(lambda c: self._rules.discard(c, key))
        except KeyNotFoundError:
            if default:
                return default[0]
            raise

    def setdefault(self, key: str, default: bytes = b"") -> bytes:
        """Return the value of a key. If it has none, write the default, unless another client writes first."""
        try:
            self.create(key, default)
        except KeyExistsError:
            return self.get(key, default)
        return default

    def clear(self) -> None:
        """Remove all keys and their history with one request."""
        self._run(self._rules.clear)

    # Keys

    def entry(self, key: str, *, revision: int | None = None) -> Entry:
        """Return the last entry of a key, or the entry at `revision`.

        Raises:
            KeyNotFoundError: If the key has no value, also if it was deleted.
            RuleError: If the key is not valid.
        """
        return self._run(lambda c: self._rules.value(c, key, revision))

    def put(self, key: str, value: bytes) -> int:
        """Write a value unconditionally and return its revision."""
        return self._run(lambda c: self._rules.put(c, key, value, {}))

    def create(self, key: str, value: bytes, *, ttl: Seconds | None = None) -> int:
        """Write a value only if the key has none or was deleted, and return the revision.

        Args:
            key: The key.
            value: The value.
            ttl: Time after which the key expires; requires the bucket option `marker_ttl`.

        Raises:
            KeyExistsError: If the key already has a value.
        """
        return self._run(lambda c: self._rules.create(c, key, value, ttl))

    def replace(self, key: str, value: bytes, *, revision: int, ttl: Seconds | None = None) -> int:
        """Write a value only if the key's last revision is `revision`, and return the new revision.

        A `revision` of 0 requires that the key has no entry, not even a delete marker.

        Raises:
            WrongRevisionError: If the key has another last revision: another client has written it.
        """
        return self._run(lambda c: self._rules.replace(c, key, value, revision, ttl))

    def delete(self, key: str, *, revision: int | None = None) -> int:
        """Write a delete marker for a key and return the marker's revision. The history of the key stays.

        Unlike `del`, it does not check whether the key has a value.

        Raises:
            WrongRevisionError: If `revision` is given and is not the key's last revision.
        """
        return self._run(lambda c: self._rules.remove(c, key, revision, purge=False))

    def purge(self, key: str, *, revision: int | None = None, ttl: Seconds | None = None) -> int:
        """Delete a key with its history and return the revision of the marker.

        Args:
            key: The key.
            revision: If given, purge only if this is the key's last revision.
            ttl: Time after which the marker expires; requires the bucket option `marker_ttl`.
        """
        return self._run(lambda c: self._rules.remove(c, key, revision, purge=True, ttl=ttl))

    def history(self, key: str) -> list[Entry]:
        """Return all entries that the bucket keeps of a key, oldest first, including delete markers."""
        from ._rules import key as checked

        return self._run(lambda c: self._rules.all(c, (checked(key),), history=True))

    def find(self, *patterns: str, values: bool = True) -> Iterator[Entry]:
        """Iterate over the entries of all keys that match a pattern, in the order of their revisions.

        The server filters: entries that do not match are not transferred. Entries are read while you iterate, so a
        bucket of any size is possible.

        Args:
            patterns: Keys, in which `*` matches one token and a final `>` all remaining ones. All keys by default.
            values: Read the values too; without them the `value` of each entry is empty.
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
        """Watch keys: deliver their current values, then every change, until the watch is closed.

            with config.watch("db.*") as changes:
                for entry in changes:
                    print(entry.operation, entry.key)

        The watch continues after restarts of the server. Any thread can end it with
        [`close`][stonechat.Watch.close].

        Args:
            patterns: Keys, or patterns as for `find`. All keys by default.
            history: Start with all entries that the bucket keeps, not only with the last one of each key.
            updates_only: Start with the next change.
            from_revision: Start with this revision.
            values: Deliver the values too; without them the `value` of each entry is empty.
            deletes: Deliver delete and purge markers too.
        """
        reader = _watching(self._rules, patterns, history, updates_only, from_revision, values)
        self._run(lambda c: self._rules.begin(c, reader))
        return Watch(self._rules, reader, _wanted(deletes))

    # The bucket

    def info(self) -> BucketInfo:
        """Return the configuration and state of the bucket."""
        return self._run(self._rules.info)

    def configure(self, **options: Unpack[BucketOptions]) -> BucketInfo:
        """Change the configuration; options that are not given stay as they are."""
        return self._run(lambda c: self._rules.configure(c, options))

    def compact(self, *, older_than: Seconds = 0.0) -> int:
        """Remove delete markers and the history before them, and return the number of removed messages.

        Args:
            older_than: Keep markers that are younger than this; remove only the history before them.
        """
        return self._run(lambda c: self._rules.compact(c, older_than))

    def drop(self) -> None:
        """Delete the bucket and its contents."""
        self._run(self._rules.drop)

    def __eq__(self, other: object) -> bool:
        # Other mappings compare contents, which would read both buckets from the server.
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
    """Iterator over the changes of a bucket; it ends when the watch is closed."""

    _what = "bucket"


class AsyncWatch(Awaiting[Entry]):
    """Asynchronous iterator over the changes of a bucket; it ends when the watch is closed."""

    _what = "bucket"


class AsyncBucket:
    """A key-value bucket for event loops: like [`Bucket`][stonechat.Bucket], with methods to be awaited.

        config = await server.kv_async("CONFIG")
        await config.put("db.url", b"pg://one")
        async for entry in config.watch():
            print(entry.key, entry.value)

    [`Server.kv_async`][stonechat.Server.kv_async] returns it. It works with asyncio and trio.
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
        """Return the value of a key, or the default if the key has no value."""
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
        """Return the keys that match a pattern, or all keys without patterns; the server filters."""
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

        The watch starts with `async with`, or when its first entry is awaited.
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
