"""Object stores of a server in this process: files of any size, stored in chunks and verified by a digest."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, TypedDict, TypeVar

from . import _rules
from ._link import Call, Step, off_thread, run, run_async
from ._objects import Chunks, ObjectInfo, Pieces, Rules, StoreInfo
from ._watch import Awaiting, Waiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
    from typing import Literal

    from typing_extensions import Unpack

    from ._link import Access, Connection, Ops
    from ._reader import Reader
    from .options import Seconds


T = TypeVar("T")
Source: TypeAlias = bytes | bytearray | memoryview | os.PathLike[str] | IO[bytes] | Iterable[bytes]
Target: TypeAlias = os.PathLike[str] | IO[bytes]

__all__ = [
    "AsyncObjectStore",
    "AsyncObjectWatch",
    "ObjectInfo",
    "ObjectStore",
    "ObjectWatch",
    "StoreInfo",
    "StoreOptions",
]

_READ_SIZE = 1 << 20


class StoreOptions(TypedDict, total=False):
    """Configuration options of an object store."""

    ttl: Seconds | None
    """Time after which objects expire."""
    max_bytes: int | None
    """Largest size of the store in bytes."""
    storage: Literal["file", "memory"]
    """Storage type, `file` by default."""
    compression: bool
    """Compress the data on disk."""
    description: str
    """Description of the store."""
    metadata: Mapping[str, str]
    """Metadata of your own."""
    placement: Mapping[str, Any] | None
    """Servers that keep the store: `cluster` and `tags`."""
    replicas: int
    """Number of servers that keep a copy."""


class ObjectFacts(TypedDict, total=False):
    """Optional properties of an object."""

    description: str
    """Description of the object."""
    headers: Mapping[str, str]
    """Headers, like those of a message."""
    metadata: Mapping[str, str]
    """Metadata of your own."""
    chunk_size: int | None
    """Size of the chunks in bytes; 128 KiB by default."""


class ObjectStore:
    """An object store. [`Server.objects`][stonechat.Server.objects] returns it.

        reports = server.objects("REPORTS")
        reports.put("2024.pdf", Path("report.pdf"))
        reports.get_file("2024.pdf", Path("copy.pdf"))

    Objects are sent and read in chunks; only `get` holds a whole object in memory. All methods may be called from any
    thread; those that wait release the GIL.
    """

    def __init__(self, access: Access, rules: Rules) -> None:
        self._access = access
        self._rules = rules

    def _run(self, ops: Callable[[Connection], Ops[T]]) -> T:
        return self._access.run(ops)

    @property
    def name(self) -> str:
        """The store's name."""
        return self._rules.name

    # Putting

    def put(self, name: str, source: Source, **facts: Unpack[ObjectFacts]) -> ObjectInfo:
        """Store an object. An existing object with this name is replaced once the new one is complete.

        Args:
            name: Name of the object, any text.
            source: Bytes, the path of a file, an open file, or an iterable of bytes.
            facts: Properties of the object: `description`, `headers`, `metadata`, `chunk_size`.
        """
        _known(facts)
        _rules.object_name(name)
        with _opened(source) as next_piece:
            pieces = Pieces(Call(next_piece))
            return self._run(lambda c: self._rules.put(c, pieces, name, facts))

    # Getting

    def get(self, name: str) -> bytes:
        """Return the content of an object.

        Raises:
            ObjectNotFoundError: If the object does not exist.
            ObjectDamagedError: If a chunk is missing, or the digest does not match.
        """
        return b"".join(self.read(name))

    def read(self, name: str) -> Iterator[bytes]:
        """Iterate over the chunks of an object. Links are followed.

        The digest is checked after the last chunk, so the data is verified only when the iterator has ended.

        Raises:
            ObjectNotFoundError: If the object does not exist.
            ObjectDamagedError: If a chunk is missing, or the digest does not match; it names object and chunk.
        """
        rules, info = self._run(lambda c: self._rules.followed(c, name))
        return self._chunks(Chunks(rules, info))

    def _chunks(self, chunks: Chunks) -> Iterator[bytes]:
        try:
            self._run(chunks.begin)
            while (data := run(chunks.next())) is not None:
                yield data
        finally:
            chunks.close()

    def get_file(self, name: str, target: Target) -> ObjectInfo:
        """Write an object to a file.

        If `target` is a path, a temporary file in the same folder is written first. It is renamed when the object is
        complete and its digest matches, so the path never holds a partial object. An open file is written chunk by
        chunk.

        Raises:
            ObjectNotFoundError: If the object does not exist.
            ObjectDamagedError: If a chunk is missing, or the digest does not match; the path stays as it was.
        """
        rules, info = self._run(lambda c: self._rules.followed(c, name))
        with _written(target) as file:
            for data in self._chunks(Chunks(rules, info)):
                file.write(data)
        return info

    def info(self, name: str) -> ObjectInfo:
        """Return the description of an object. A link is described itself, not followed.

        Raises:
            ObjectNotFoundError: If the object does not exist.
        """
        return self._run(lambda c: self._rules.info(c, name))

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        info = self._run(lambda c: self._rules.find(c, name))
        return info is not None and not info.deleted

    def __iter__(self) -> Iterator[ObjectInfo]:
        return self.list()

    def __len__(self) -> int:
        return sum(1 for _ in self.list())

    def list(self, *, deleted: bool = False) -> Iterator[ObjectInfo]:
        """Iterate over the descriptions of all objects, in the order of their last change.

        They are read while you iterate, so a store with any number of objects is possible.

        Args:
            deleted: Include deleted objects.
        """
        reader = self._rules.reader()
        self._run(lambda c: self._rules.begin(c, reader))
        return self._stored(reader, deleted=deleted)

    def _stored(self, reader: Reader, *, deleted: bool) -> Iterator[ObjectInfo]:
        try:
            while (found := run(reader.next_stored())) is not None:
                info = self._rules.delivered(found)
                if info is not None and (deleted or not info.deleted):
                    yield info
        finally:
            reader.close()

    def watch(self, *, updates_only: bool = False, deletes: bool = True) -> ObjectWatch:
        """Watch the store: deliver the present objects, then every change, until the watch is closed.

        Args:
            updates_only: Start with the next change.
            deletes: Deliver deleted objects too.
        """
        reader = self._rules.reader(policy="new" if updates_only else "last_per_subject")
        self._run(lambda c: self._rules.begin(c, reader))
        return ObjectWatch(self._rules, reader, _wanted(deletes))

    # Changing

    def delete(self, name: str) -> None:
        """Delete an object and remove its chunks.

        Raises:
            ObjectNotFoundError: If the object does not exist.
        """
        self._run(lambda c: self._rules.delete(c, name))

    def link(self, name: str, target: str, *, bucket: str | None = None) -> ObjectInfo:
        """Create a link to an object. Reading the link returns the content of the target.

        Args:
            name: Name of the link.
            target: Name of the target object.
            bucket: Object store that holds the target; this store by default.
        """
        store = self.name if bucket is None else _rules.bucket(bucket)
        return self._run(lambda c: self._rules.link(c, name, store, _rules.object_name(target)))

    def link_bucket(self, name: str, bucket: str) -> ObjectInfo:
        """Create a link to a whole object store."""
        return self._run(lambda c: self._rules.link(c, name, _rules.bucket(bucket), None))

    def update(
        self,
        name: str,
        *,
        new_name: str | None = None,
        description: str | None = None,
        headers: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Change the name or the properties of an object; arguments that are not given leave it as it is.

        Raises:
            ObjectNotFoundError: If the object does not exist.
            ObjectExistsError: If another object already has the new name.
        """
        changes = _changes(new_name, description, headers, metadata)
        return self._run(lambda c: self._rules.update(c, name, changes))

    # The store

    def store_info(self) -> StoreInfo:
        """Return the configuration and state of the store."""
        return self._run(self._rules.store)

    def seal(self) -> None:
        """Make the store read-only, permanently."""
        self._run(self._rules.seal)

    def drop(self) -> None:
        """Delete the store and its contents."""
        self._run(self._rules.drop)

    def __repr__(self) -> str:
        return f"<stonechat.ObjectStore {self.name}>"

    def _repr_html_(self) -> str:
        from ._html import object_store

        return object_store(self)


def _known(facts: Mapping[str, Any]) -> None:
    if unknown := set(facts) - {"description", "headers", "metadata", "chunk_size"}:
        raise TypeError(f"nothing is said of an object by {', '.join(sorted(unknown))}")


def _changes(
    name: str | None, description: str | None, headers: Mapping[str, str] | None, metadata: Mapping[str, str] | None
) -> dict[str, Any]:
    changed_name = None if name is None else _rules.object_name(name)
    return {"name": changed_name, "description": description, "headers": headers, "metadata": metadata}


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[Callable[[], bytes | None]]:
    """Yield a function that returns the next piece of the source, and `None` at its end."""
    with contextlib.ExitStack() as stack:
        if isinstance(source, str):
            raise TypeError(
                "an object is bytes, a path, an open file or an iterable of bytes, not str; name a file with Path"
            )
        if isinstance(source, (bytes, bytearray, memoryview)):
            whole = iter((bytes(source),))
            yield lambda: next(whole, None)
            return
        if isinstance(source, os.PathLike):
            source = stack.enter_context(Path(source).open("rb"))
        if hasattr(source, "read"):
            file: Any = source
            yield lambda: file.read(_READ_SIZE) or None
            return
        pieces = iter(source)
        yield lambda: next(pieces, None)


@contextlib.contextmanager
def _written(target: Target) -> Iterator[IO[bytes]]:
    """Yield a file to write to. If the target is a path, the file is temporary, and renamed at the end."""
    if not isinstance(target, (os.PathLike, str)):
        yield target
        return
    path = Path(target)
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name[:80]}.", suffix=".part", delete=False
    ) as file:
        beside = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            file.close()
            if path.exists():
                beside.chmod(path.stat().st_mode & 0o777)
            else:
                mask = os.umask(0)
                os.umask(mask)
                beside.chmod(0o666 & ~mask)
            beside.replace(path)
        except BaseException:
            file.close()
            beside.unlink(missing_ok=True)
            raise


def _wanted(deletes: bool) -> Callable[[ObjectInfo], bool]:
    return lambda info: deletes or not info.deleted


class ObjectWatch(Waiting[ObjectInfo]):
    """Iterator over the changes of an object store; it ends when the watch is closed."""

    _what = "object store"


class AsyncObjectWatch(Awaiting[ObjectInfo]):
    """Asynchronous iterator over the changes of an object store; it ends when the watch is closed."""

    _what = "object store"


class _Pull(Step):
    """Step that waits for the next piece of an asynchronous iterator."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    async def wait_async(self) -> bytes | None:
        try:
            return await self._pieces.__anext__()
        except StopAsyncIteration:
            return None


class AsyncObjectStore:
    """An object store for event loops: like [`ObjectStore`][stonechat.ObjectStore], with methods to be awaited.

        reports = await server.objects_async("REPORTS")
        await reports.put("2024.pdf", Path("report.pdf"))
        async for info in reports.list():
            print(info.name, info.size)

    [`Server.objects_async`][stonechat.Server.objects_async] returns it. It works with asyncio and trio.
    """

    def __init__(self, access: Access, rules: Rules) -> None:
        self._access = access
        self._rules = rules

    async def _run(self, ops: Callable[[Connection], Ops[T]]) -> T:
        return await self._access.run_async(ops)

    @property
    def name(self) -> str:
        """The store's name."""
        return self._rules.name

    async def put(self, name: str, source: Source | AsyncIterable[bytes], **facts: Unpack[ObjectFacts]) -> ObjectInfo:
        """Like [`ObjectStore.put`][stonechat.ObjectStore.put]; the source may be an asynchronous iterator too."""
        _known(facts)
        _rules.object_name(name)
        if hasattr(source, "__aiter__"):
            pulled = Pieces(_Pull(source.__aiter__()))
            return await self._run(lambda c: self._rules.put(c, pulled, name, facts))
        with _opened(source) as next_piece:
            pieces = Pieces(Call(next_piece))
            return await self._run(lambda c: self._rules.put(c, pieces, name, facts))

    async def get(self, name: str) -> bytes:
        """Like [`ObjectStore.get`][stonechat.ObjectStore.get]."""
        return b"".join([data async for data in self.read(name)])

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """Like [`ObjectStore.read`][stonechat.ObjectStore.read], for `async for`."""
        rules, info = await self._run(lambda c: self._rules.followed(c, name))
        chunks = Chunks(rules, info)
        try:
            await self._run(chunks.begin)
            while (data := await run_async(chunks.next())) is not None:
                yield data
        finally:
            chunks.close()

    async def get_file(self, name: str, target: Target) -> ObjectInfo:
        """Like [`ObjectStore.get_file`][stonechat.ObjectStore.get_file]."""
        store = ObjectStore(self._access, self._rules)
        return await off_thread(lambda: store.get_file(name, target))

    async def info(self, name: str) -> ObjectInfo:
        """Like [`ObjectStore.info`][stonechat.ObjectStore.info]."""
        return await self._run(lambda c: self._rules.info(c, name))

    async def list(self, *, deleted: bool = False) -> AsyncIterator[ObjectInfo]:
        """Like [`ObjectStore.list`][stonechat.ObjectStore.list], for `async for`."""
        reader = self._rules.reader()
        try:
            await self._run(lambda c: self._rules.begin(c, reader))
            while (found := await run_async(reader.next_stored())) is not None:
                info = self._rules.delivered(found)
                if info is not None and (deleted or not info.deleted):
                    yield info
        finally:
            reader.close()

    def watch(self, *, updates_only: bool = False, deletes: bool = True) -> AsyncObjectWatch:
        """Like [`ObjectStore.watch`][stonechat.ObjectStore.watch], for `async for`.

        The watch starts with `async with`, or when its first entry is awaited.
        """
        reader = self._rules.reader(policy="new" if updates_only else "last_per_subject")
        return AsyncObjectWatch(self._rules, reader, _wanted(deletes))

    async def delete(self, name: str) -> None:
        """Like [`ObjectStore.delete`][stonechat.ObjectStore.delete]."""
        await self._run(lambda c: self._rules.delete(c, name))

    async def link(self, name: str, target: str, *, bucket: str | None = None) -> ObjectInfo:
        """Like [`ObjectStore.link`][stonechat.ObjectStore.link]."""
        store = self.name if bucket is None else _rules.bucket(bucket)
        return await self._run(lambda c: self._rules.link(c, name, store, _rules.object_name(target)))

    async def link_bucket(self, name: str, bucket: str) -> ObjectInfo:
        """Like [`ObjectStore.link_bucket`][stonechat.ObjectStore.link_bucket]."""
        return await self._run(lambda c: self._rules.link(c, name, _rules.bucket(bucket), None))

    async def update(
        self,
        name: str,
        *,
        new_name: str | None = None,
        description: str | None = None,
        headers: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Like [`ObjectStore.update`][stonechat.ObjectStore.update]."""
        changes = _changes(new_name, description, headers, metadata)
        return await self._run(lambda c: self._rules.update(c, name, changes))

    async def store_info(self) -> StoreInfo:
        """Like [`ObjectStore.store_info`][stonechat.ObjectStore.store_info]."""
        return await self._run(self._rules.store)

    async def seal(self) -> None:
        """Like [`ObjectStore.seal`][stonechat.ObjectStore.seal]."""
        await self._run(self._rules.seal)

    async def drop(self) -> None:
        """Like [`ObjectStore.drop`][stonechat.ObjectStore.drop]."""
        await self._run(self._rules.drop)

    def __repr__(self) -> str:
        return f"<stonechat.AsyncObjectStore {self.name}>"
