"""Object stores on top of streams (ADR-20). Shared by the blocking and the asynchronous stores."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from . import _rules, _stonechat
from ._kv import checked_options
from ._link import stored
from ._reader import Reader, Wanted
from .errors import (
    BucketExistsError,
    BucketNotFoundError,
    JetStreamError,
    ObjectDamagedError,
    ObjectExistsError,
    ObjectNotFoundError,
    RuleError,
    StreamExistsError,
    StreamNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._link import Access, Connection, Ops, Step
    from ._reader import Delivered
    from ._stonechat import Inbox

CHUNK_SIZE = _stonechat.CHUNK_SIZE
"""Default size of a chunk in bytes, the same in all clients."""
_UNDER_WAY = 4 << 20
"""Bytes of chunks that may be in flight, sent but not acknowledged."""
_ROLLUP = {"Nats-Rollup": "sub"}


@dataclass(frozen=True)
class ObjectInfo:
    """Description of an object."""

    bucket: str
    """Name of the object store."""
    name: str
    """Name of the object."""
    size: int
    """Size in bytes."""
    chunks: int
    """Number of chunks."""
    digest: str
    """`SHA-256=` and the digest in Base64."""
    modified: datetime
    """Time of the last change of the description, by the server's clock."""
    description: str = ""
    """Description text."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers, like those of a message."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """User-defined metadata."""
    link: tuple[str, str | None] | None = None
    """Target of a link: store and object; the object is `None` for a link to a whole store."""
    deleted: bool = False
    """Whether the object was deleted."""
    nuid: str = ""
    """Unique id of this version, which its chunks have in their subject."""
    chunk_size: int = CHUNK_SIZE
    """Size of the chunks in bytes; the last one may be smaller."""

    def _repr_html_(self) -> str:
        from ._html import stored_object

        return stored_object(self)


@dataclass(frozen=True)
class StoreInfo:
    """An object store's configuration and state."""

    name: str
    """Name of the object store."""
    bytes: int
    """Size of the store in bytes."""
    sealed: bool
    """Whether the store is read-only."""
    ttl: float | None
    """Seconds after which objects expire."""
    max_bytes: int | None
    """Largest size of the store in bytes."""
    storage: str
    """Storage type: `file` or `memory`."""
    compression: bool
    """Whether the data is compressed on disk."""
    description: str
    """Description of the store."""
    config: dict[str, Any]
    """Full configuration of the store's stream."""


def store_info(name: str, told: Mapping[str, Any]) -> StoreInfo:
    """Build a `StoreInfo` from the stream info of the server; missing or malformed fields get default values."""
    return StoreInfo(name=name, config=_table(told.get("config")), **_stonechat.store_status(json.dumps(told)))


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _info(data: bytes, modified: datetime) -> ObjectInfo | None:
    """Parse the stored description of an object; return `None` if it is malformed."""
    told = _stonechat.read_object(data)
    return None if told is None else ObjectInfo(modified=modified, **told)


def _described(info: ObjectInfo) -> bytes:
    """Serialize the description of an object for storage."""
    facts = {**vars(info), "headers": list(info.headers.items()), "metadata": dict(info.metadata)}
    del facts["modified"]
    return _stonechat.describe_object(json.dumps(facts))


OPTIONS = frozenset(["ttl", "max_bytes", "storage", "compression", "description", "metadata", "placement", "replicas"])
"""Names of the configuration options of an object store."""


def configuration(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stream configuration of a store with these options."""
    checked = json.dumps(checked_options(options, OPTIONS, "an object store"))
    told: dict[str, Any] = json.loads(_stonechat.store_config(_rules.bucket(name), checked))
    return told


class Rules:
    """Operations on an object store."""

    def __init__(self, access: Access, name: str) -> None:
        self.access = access
        self.name = _rules.bucket(name)
        self.stream = _stonechat.stream_name("object", name)

    def meta_subject(self, name: str) -> str:
        """Return the subject of an object's description."""
        return _stonechat.object_subject(self.name, "M", _rules.object_name(name))

    def chunk_subject(self, nuid: str) -> str:
        """Return the subject of an object's chunks."""
        return _stonechat.object_subject(self.name, "C", nuid)

    # The store itself

    def open(self, connection: Connection, options: Mapping[str, Any], *, create: bool) -> Ops[None]:
        """Find the store, or create it."""
        wanted = {name: given for name, given in options.items() if given is not None}
        config = configuration(self.name, wanted)
        if not wanted or not create:
            try:
                yield from connection.api(f"STREAM.INFO.{self.stream}")
            except StreamNotFoundError:
                if not create:
                    raise self.no_bucket() from None
            else:
                return
        try:
            yield from connection.api(f"STREAM.CREATE.{self.stream}", config)
        except StreamExistsError as error:
            raise BucketExistsError(
                f"object store {self.name} is there with another configuration; open it without options",
                error.code,
                error.err_code,
            ) from None

    def no_bucket(self) -> BucketNotFoundError:
        """Return the error for a missing store."""
        return BucketNotFoundError(f"there is no object store {self.name}", 404, 10059)

    def _api(self, connection: Connection, call: str, body: Mapping[str, Any] | None = None) -> Ops[dict[str, Any]]:
        try:
            return (yield from connection.api(f"{call}.{self.stream}", body))
        except StreamNotFoundError:
            raise self.no_bucket() from None

    def store(self, connection: Connection) -> Ops[StoreInfo]:
        """Return the configuration and state."""
        return store_info(self.name, (yield from self._api(connection, "STREAM.INFO")))

    def seal(self, connection: Connection) -> Ops[None]:
        """Make the store read-only."""
        told = yield from self._api(connection, "STREAM.INFO")
        yield from self._api(connection, "STREAM.UPDATE", {**_table(told.get("config")), "sealed": True})

    def drop(self, connection: Connection) -> Ops[None]:
        """Delete the store and its contents."""
        yield from self._api(connection, "STREAM.DELETE")

    # Descriptions

    def find(self, connection: Connection, name: str) -> Ops[ObjectInfo | None]:
        """Return the description of an object, also if it is deleted; `None` if there is none."""
        found = yield from self._found(connection, name)
        return None if found is None else found[0]

    def _found(self, connection: Connection, name: str) -> Ops[tuple[ObjectInfo, bytes] | None]:
        """Return the description of an object and its stored form; `None` if there is none."""
        subject = self.meta_subject(name)
        answer = yield from connection.get(f"DIRECT.GET.{self.stream}.{subject}")
        if answer.status == 404:
            return None
        if answer.status == 503:
            yield from self._api(connection, "STREAM.INFO")
        if answer.status:
            raise JetStreamError(answer.text, answer.status)
        info = _info(answer.data, _rules.time(answer.headers.get("Nats-Time-Stamp")))
        if info is None:
            raise ObjectDamagedError(
                f"the description of object {name!r} in {self.name} makes no sense", self.name, name
            )
        return info, answer.data

    def info(self, connection: Connection, name: str) -> Ops[ObjectInfo]:
        """Return the description of an object; raise an error if it does not exist or is deleted."""
        info = yield from self.find(connection, name)
        if info is None or info.deleted:
            raise self.no_object(name)
        return info

    def no_object(self, name: str) -> ObjectNotFoundError:
        """Return the error for a missing object."""
        return ObjectNotFoundError(f"object store {self.name} has no object {name!r}", 404, 10037)

    def _describe(self, connection: Connection, info: ObjectInfo) -> Ops[ObjectInfo]:
        yield from connection.store(self.meta_subject(info.name), _described(info), _ROLLUP)
        return info

    def _purge(self, connection: Connection, subject: str) -> Ops[None]:
        yield from self._api(connection, "STREAM.PURGE", {"filter": subject})

    def reader(self, *, policy: str = "last_per_subject") -> Reader:
        """Return a reader of the descriptions, in order."""
        return Reader(self.access, Wanted(self.stream, [_stonechat.object_subject(self.name, "M")], policy))

    def begin(self, connection: Connection, reader: Reader) -> Ops[None]:
        """Create the reader's consumer."""
        try:
            yield from reader.begin(connection)
        except StreamNotFoundError:
            raise self.no_bucket() from None

    def delivered(self, found: Delivered) -> ObjectInfo | None:
        """Parse the description in a message from a reader; return `None` if it is malformed."""
        return _info(found.message.data, found.time)

    # Putting

    def put(self, connection: Connection, source: Pieces, name: str, facts: Mapping[str, Any]) -> Ops[ObjectInfo]:
        """Store the chunks of a source, then the description; finally remove the chunks of the previous object."""
        facts = dict(facts)
        asked = facts.pop("chunk_size", None)
        usual = min(CHUNK_SIZE, connection.max_payload)
        chunk_size = _rules.size(usual if asked is None else asked, "chunk_size", 1, connection.max_payload)
        _rules.header_block(facts.get("headers") or {})
        before = yield from self.find(connection, name)
        nuid = secrets.token_hex(11)
        subject = self.chunk_subject(nuid)
        try:
            size, chunks, digest = yield from self._send(connection, source, subject, chunk_size)
            info = ObjectInfo(
                bucket=self.name,
                name=name,
                size=size,
                chunks=chunks,
                digest=_stonechat.digest(digest),
                modified=datetime.now(timezone.utc),
                nuid=nuid,
                chunk_size=chunk_size,
                **{fact: given for fact, given in facts.items() if given},
            )
            yield from self._describe(connection, info)
        except GeneratorExit:
            raise
        except BaseException:
            # No description refers to the chunks sent so far: request their removal without waiting for the answer,
            # so that the original error is raised.
            connection.tell(f"STREAM.PURGE.{self.stream}", json.dumps({"filter": subject}).encode())
            raise
        if before is not None and before.nuid and not before.deleted and before.link is None:
            yield from self._purge(connection, self.chunk_subject(before.nuid))
        return info

    def _send(
        self, connection: Connection, source: Pieces, subject: str, chunk_size: int
    ) -> Ops[tuple[int, int, bytes]]:
        """Send chunks, several in flight; return their total size, number and digest."""
        under_way: deque[Inbox] = deque()
        most = max(_UNDER_WAY // chunk_size, 1)
        digest, size, chunks = hashlib.sha256(), 0, 0
        try:
            while chunk := (yield from source.chunk(chunk_size)):
                digest.update(chunk)
                size += len(chunk)
                chunks += 1
                under_way.append(connection.ask(subject, chunk))
                if len(under_way) >= most:
                    yield from self._acknowledged(connection, under_way, subject)
            while under_way:
                yield from self._acknowledged(connection, under_way, subject)
        finally:
            for inbox in under_way:
                inbox.close()
        return size, chunks, digest.digest()

    def _acknowledged(self, connection: Connection, under_way: deque[Inbox], subject: str) -> Ops[None]:
        inbox = under_way.popleft()
        try:
            answer = yield from connection.answer(inbox, subject)
            stored(answer, subject)
        except StreamNotFoundError:
            raise self.no_bucket() from None
        finally:
            inbox.close()

    # Getting

    def followed(self, connection: Connection, name: str) -> Ops[tuple[Rules, ObjectInfo]]:
        """Follow links to the object itself; return its store and description."""
        rules, info = self, (yield from self.info(connection, name))
        for _ in range(_stonechat.LINKS_MAX):
            if info.link is None:
                return rules, info
            bucket, target = info.link
            if target is None:
                raise RuleError(f"object {info.name!r} in {rules.name} is a link to the whole bucket {bucket}")
            rules = Rules(self.access, bucket)
            info = yield from rules.info(connection, target)
        raise RuleError(f"the links from object {name!r} in {self.name} lead to each other")

    # Changing

    def delete(self, connection: Connection, name: str) -> Ops[None]:
        """Delete an object and remove its chunks."""
        found = yield from self._found(connection, name)
        if found is None or found[0].deleted:
            raise self.no_object(name)
        info, told = found
        yield from connection.store(self.meta_subject(name), _stonechat.delete_object(told), _ROLLUP)
        if info.nuid and info.link is None:
            yield from self._purge(connection, self.chunk_subject(info.nuid))

    def link(self, connection: Connection, name: str, bucket: str, target: str | None) -> Ops[ObjectInfo]:
        """Create a link to an object, or to a whole store."""
        before = yield from self.find(connection, name)
        if before is not None and not before.deleted and before.link is None:
            raise ObjectExistsError(f"object store {self.name} has an object {name!r} already", 400)
        rules = Rules(self.access, bucket)
        if target is None:
            yield from rules.store(connection)
        elif (yield from rules.info(connection, target)).link is not None:
            raise RuleError(f"object {target!r} in {bucket} is a link itself: link to what it stands for")
        info = ObjectInfo(
            self.name, name, 0, 0, "", datetime.now(timezone.utc), link=(bucket, target), nuid=secrets.token_hex(11)
        )
        return (yield from self._describe(connection, info))

    def update(self, connection: Connection, name: str, changes: Mapping[str, Any]) -> Ops[ObjectInfo]:
        """Change the name or the properties of an object."""
        info = yield from self.info(connection, name)
        new_name = changes.get("name") or name
        if new_name != name:
            other = yield from self.find(connection, new_name)
            if other is not None and not other.deleted:
                raise ObjectExistsError(f"object store {self.name} has an object {new_name!r} already", 400)
        facts = {**vars(info), **{fact: given for fact, given in changes.items() if given is not None}}
        _rules.header_block(facts["headers"])
        changed = yield from self._describe(connection, ObjectInfo(**facts))
        if new_name != name:
            yield from self._purge(connection, self.meta_subject(name))
        return changed


class Chunks:
    """Reads the chunks of an object in order and checks them against its description."""

    def __init__(self, rules: Rules, info: ObjectInfo) -> None:
        self.info = info
        self._rules = rules
        self._wanted = Wanted(rules.stream, [rules.chunk_subject(info.nuid)])
        self._reader = Reader(rules.access, self._wanted)
        self._digest = hashlib.sha256()
        self._check = _stonechat.ObjectCheck(info.size, info.chunks, info.chunk_size, info.digest)

    def begin(self, connection: Connection) -> Ops[None]:
        """Create the reader's consumer, and check that it has the right number of chunks to deliver."""
        if not self.info.nuid:
            raise self._damaged(*self._check.unnamed())
        if self.info.chunks:
            yield from self._rules.begin(connection, self._reader)
            if self._reader.pending != self.info.chunks:
                self._reader.close()
                yield from self._look_what_is_missing(connection)

    def _look_what_is_missing(self, connection: Connection) -> Ops[None]:
        """Raise the error that names the missing chunk."""
        reader = Reader(self._rules.access, replace(self._wanted, headers_only=True))
        places, last_size = [], 0
        try:
            yield from self._rules.begin(connection, reader)
            while (found := (yield from reader.next_stored())) is not None:
                places.append(found.sequence)
                last_size = int(found.message.headers.get("Nats-Msg-Size", 0))
        finally:
            reader.close()
        # If the number of chunks is right now, a missing one has arrived since: raise the error for a late chunk.
        self._right(self._check.miscounted(places, last_size) or self._check.late())

    def next(self) -> Ops[bytes | None]:
        """Return the next chunk, or `None` after the last one, if digest and size match."""
        if self._check.is_whole:
            self._right(self._check.finish(self._digest.digest()))
            return None
        # A missing chunk is detected by the pending count of the next one, or by a timeout.
        found = yield from self._reader.next(_CHUNK_WITHIN)
        if found is None:
            raise self._damaged(*self._check.late())
        data = found.message.data
        self._right(self._check.take(found.pending, len(data)))
        self._digest.update(data)
        return data

    def _right(self, wrong: tuple[str, int | None] | None) -> None:
        """Raise the error for a failed check; do nothing if the check succeeded."""
        if wrong is not None:
            raise self._damaged(*wrong)

    def _damaged(self, what: str, chunk: int | None = None) -> ObjectDamagedError:
        info = self.info
        return ObjectDamagedError(
            f"object {info.name!r} in {info.bucket} is damaged: {what}", info.bucket, info.name, chunk
        )

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()


_CHUNK_WITHIN = 5.0
"""Seconds to wait for a chunk."""


class Pieces:
    """Cuts the pieces of a source, which have any size, into chunks of one size."""

    def __init__(self, step: Step) -> None:
        self._step = step
        """Step that returns the next piece, or `None` at the end."""
        self._rest = bytearray()
        self._ended = False

    def chunk(self, size: int) -> Ops[bytes]:
        """Return the next chunk; it is empty at the end."""
        while len(self._rest) < size and not self._ended:
            piece = yield self._step
            if piece is None:
                self._ended = True
            else:
                self._rest += _rules.value(piece, "a piece of an object")
        chunk = bytes(self._rest[:size])
        del self._rest[:size]
        return chunk
