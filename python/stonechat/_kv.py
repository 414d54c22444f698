"""Key-value buckets on top of streams (ADR-8). Shared by the blocking and the asynchronous buckets."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from . import _rules, _stonechat
from ._link import message
from ._reader import Reader, Wanted
from .errors import (
    BucketExistsError,
    BucketNotFoundError,
    JetStreamError,
    KeyExistsError,
    KeyNotFoundError,
    RuleError,
    StreamExistsError,
    StreamNotFoundError,
    WrongRevisionError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from ._link import Access, Connection, Ops
    from ._reader import Delivered
    from .options import Seconds

    _Operation = Literal["put", "delete", "purge"]


_NO_MESSAGE = 10037
_MOST_HISTORY = 64
OPTIONS = frozenset(
    (
        *("history", "ttl", "marker_ttl", "max_bytes", "max_value_size", "storage", "compression", "description"),
        *("metadata", "mirror", "sources", "republish", "placement", "replicas"),
    )
)
"""Names of the configuration options of a bucket."""


@dataclass(frozen=True)
class Entry:
    """One revision of a key."""

    bucket: str
    """Name of the bucket."""
    key: str
    """Name of the key."""
    value: bytes
    """Value; empty for delete and purge markers."""
    revision: int
    """Revision: a number that increases with every write to any key of the bucket."""
    created: datetime
    """Time of the write, by the server's clock."""
    operation: _Operation
    """`put` for a value, `delete` or `purge` for a marker."""

    def _repr_html_(self) -> str:
        from ._html import entry

        return entry(self)


@dataclass(frozen=True)
class BucketInfo:
    """A bucket's configuration and state."""

    name: str
    """Name of the bucket."""
    values: int
    """Number of values and markers in the bucket, including the history."""
    bytes: int
    """Size of the bucket in bytes."""
    history: int
    """Number of values kept per key."""
    ttl: float | None
    """Seconds after which values expire."""
    marker_ttl: float | None
    """Seconds for which delete markers are kept; if set, single keys may have a `ttl`."""
    max_bytes: int | None
    """Largest size of the bucket in bytes."""
    max_value_size: int | None
    """Largest size of a value in bytes."""
    storage: str
    """Storage type: `file` or `memory`."""
    compression: bool
    """Whether the data is compressed on disk."""
    description: str
    """Description of the bucket."""
    metadata: dict[str, str]
    """Metadata of the bucket."""
    config: dict[str, Any]
    """Full configuration of the bucket's stream."""


def bucket_info(name: str, told: Mapping[str, Any]) -> BucketInfo:
    """Build a `BucketInfo` from the stream info of the server; missing or malformed fields get default values."""
    return BucketInfo(name=name, config=_table(told.get("config")), **_stonechat.bucket_status(json.dumps(told)))


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def number(value: object) -> int:
    """Return a number from a response, or 0 if the value is not an integer."""
    return value if isinstance(value, int) else 0


# Buckets


def checked_options(options: Mapping[str, Any], known: frozenset[str], what: str) -> dict[str, Any]:
    """Validate options and convert them for Rust, with times in nanoseconds; options that are `None` are left out."""
    if unknown := set(options) - known:
        raise TypeError(f"{what} has no option {', '.join(sorted(unknown))}")
    checked: dict[str, Any] = {}
    for option, given in options.items():
        if given is None:
            continue
        value: object = given
        if option == "history":
            value = _rules.size(given, "history", 1, _MOST_HISTORY)
        elif option == "ttl":
            value = _rules.nanoseconds(given, "a ttl", 0.1)
        elif option == "marker_ttl":
            value = _rules.nanoseconds(given, "marker_ttl", 1.0)
        elif option == "max_bytes":
            value = _rules.size(given, "max_bytes")
        elif option == "max_value_size":
            value = _rules.size(given, "max_value_size", 1, (1 << 31) - 1)
        elif option == "storage":
            if given not in ("file", "memory"):
                raise RuleError(f"storage can't be {given!r}: it is 'file' or 'memory'")
        elif option == "compression":
            value = bool(given)
        elif option == "mirror":
            value = _rules.bucket(given)
        elif option == "sources":
            value = [_rules.bucket(source) for source in given]
        elif option == "republish":
            source, target = (_rules.subject(subject, wildcards=True) for subject in given)
            value = {"src": source, "dest": target}
        elif option in ("placement", "metadata"):
            value = dict(given)
        elif option == "replicas":
            value = _rules.size(given, "replicas", 1, 5)
        checked[option] = value
    return checked


def configuration(name: str, options: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the stream configuration of a bucket with these options; other fields are taken from `config`."""
    checked = checked_options(options, OPTIONS, "a bucket")
    if "mirror" in checked:
        if checked.get("sources"):
            raise RuleError("a bucket is a mirror of another one, or has sources, not both")
        if config is not None:
            raise RuleError("a bucket is made as the mirror of another one: it can't become one")
    earlier = None if config is None else json.dumps(config)
    told: dict[str, Any] = json.loads(_stonechat.bucket_config(_rules.bucket(name), json.dumps(checked), earlier))
    return told


class Rules:
    """Operations on a bucket."""

    def __init__(self, access: Access, name: str) -> None:
        self.access = access
        self.name = _rules.bucket(name)
        self.stream = _stonechat.stream_name("kv", name)
        self._learn({})

    def _learn(self, told: Mapping[str, Any]) -> None:
        """Read from a stream info which subjects the keys use, how to get them, and the largest value size."""
        config = json.dumps(_table(told.get("config")))
        self.prefix, self.put_prefix, self.is_direct, self.max_value = _stonechat.key_place(self.name, config)

    # The bucket itself

    def open(self, connection: Connection, options: Mapping[str, Any], *, create: bool) -> Ops[None]:
        """Find the bucket, or create it."""
        wanted = {name: given for name, given in options.items() if given is not None}
        # Before the lookup, so that invalid options are refused even if the bucket exists.
        config = configuration(self.name, wanted)
        if not wanted or not create:
            try:
                self._learn((yield from connection.api(f"STREAM.INFO.{self.stream}")))
            except StreamNotFoundError:
                if not create:
                    raise self.no_bucket() from None
            else:
                return
        try:
            self._learn((yield from connection.api(f"STREAM.CREATE.{self.stream}", config)))
        except StreamExistsError as error:
            raise BucketExistsError(
                f"bucket {self.name} is there with another configuration: open it without options, and configure() it",
                error.code,
                error.err_code,
            ) from None

    def info(self, connection: Connection) -> Ops[BucketInfo]:
        """Return the configuration and state."""
        return bucket_info(self.name, (yield from self._described(connection)))

    def _described(self, connection: Connection) -> Ops[dict[str, Any]]:
        try:
            told = yield from connection.api(f"STREAM.INFO.{self.stream}")
        except StreamNotFoundError:
            raise self.no_bucket() from None
        self._learn(told)
        return told

    def configure(self, connection: Connection, options: Mapping[str, Any]) -> Ops[BucketInfo]:
        """Change the given options; all other fields stay, including fields unknown to this code."""
        configuration(self.name, options, {})
        told = yield from self._described(connection)
        config = configuration(self.name, options, _table(told.get("config")))
        told = yield from connection.api(f"STREAM.UPDATE.{self.stream}", config)
        self._learn(told)
        return bucket_info(self.name, told)

    def drop(self, connection: Connection) -> Ops[None]:
        """Delete the bucket and its contents."""
        try:
            yield from connection.api(f"STREAM.DELETE.{self.stream}")
        except StreamNotFoundError:
            raise self.no_bucket() from None

    def clear(self, connection: Connection) -> Ops[int]:
        """Remove all keys and their history with one request; return the number of removed messages."""
        told = yield from self._purged(connection, None)
        return number(told.get("purged"))

    def _purged(self, connection: Connection, body: Mapping[str, Any] | None) -> Ops[dict[str, Any]]:
        try:
            return (yield from connection.api(f"STREAM.PURGE.{self.stream}", body))
        except StreamNotFoundError:
            raise self.no_bucket() from None

    def no_bucket(self) -> BucketNotFoundError:
        """Return the error for a missing bucket."""
        return BucketNotFoundError(f"there is no bucket {self.name}", 404, 10059)

    def _no_key(self, key: str, revision: int | None = None) -> KeyNotFoundError:
        at = "" if revision is None else f" at revision {revision}"
        return KeyNotFoundError(f"bucket {self.name} has no value of key {key!r}{at}", 404, _NO_MESSAGE)

    # Reading

    def entry(self, connection: Connection, key: str, revision: int | None = None) -> Ops[Entry | None]:
        """Return the last entry of a key, or the entry at a revision; delete markers count as entries."""
        subject = self.prefix + _rules.key(key)
        if revision is not None:
            _rules.revision(revision)
        found = yield from (self._direct if self.is_direct else self._stored)(connection, subject, revision)
        # The revision may belong to another key.
        return found if found is not None and found.key == key else None

    def _direct(self, connection: Connection, subject: str, revision: int | None) -> Ops[Entry | None]:
        call = f"DIRECT.GET.{self.stream}"
        if revision is None:
            answer = yield from connection.get(f"{call}.{subject}")
        else:
            answer = yield from connection.get(call, {"seq": revision})
        if answer.status == 404:
            return None
        if answer.status == 503:
            # No responders: the bucket is gone or JetStream is off. A stream info request raises the right error.
            yield from self._described(connection)
        place, sequence = answer.headers.get("Nats-Subject"), answer.headers.get("Nats-Sequence", "")
        if answer.status or place is None or not sequence.isdecimal():
            raise JetStreamError(answer.text or "an answer without a sequence", answer.status)
        when = _rules.time(answer.headers.get("Nats-Time-Stamp"))
        return self._entry(place, answer.headers, answer.data, int(sequence), when)

    def _stored(self, connection: Connection, subject: str, revision: int | None) -> Ops[Entry | None]:
        body = {"last_by_subj": subject} if revision is None else {"seq": revision}
        try:
            told = yield from connection.api(f"STREAM.MSG.GET.{self.stream}", body)
        except StreamNotFoundError:
            raise self.no_bucket() from None
        except JetStreamError as error:
            if error.err_code == _NO_MESSAGE:
                return None
            raise
        stored = _table(told.get("message"))
        block = base64.b64decode(stored.get("hdrs", "")) or None
        data = base64.b64decode(stored.get("data", ""))
        read = message((str(stored.get("subject", "")), None, block, data))
        return self._entry(read.subject, read.headers, data, number(stored.get("seq")), _rules.time(stored.get("time")))

    def _entry(self, subject: str, headers: Mapping[str, str], data: bytes, revision: int, when: datetime) -> Entry:
        return Entry(self.name, subject.removeprefix(self.prefix), data, revision, when, operation(headers))

    def value(self, connection: Connection, key: str, revision: int | None = None) -> Ops[Entry]:
        """Return the entry of a key; raise an error if the key has no value."""
        entry = yield from self.entry(connection, key, revision)
        if entry is None or entry.operation != "put":
            raise self._no_key(key, revision)
        return entry

    def reader(
        self,
        patterns: Iterable[str],
        *,
        policy: str = "last_per_subject",
        start: int | None = None,
        headers_only: bool = False,
    ) -> Reader:
        """Return a reader of the entries that match a pattern, in order; the server filters."""
        filters = [self.prefix + _rules.key_filter(pattern) for pattern in patterns] or [f"{self.prefix}>"]
        if start is not None:
            _rules.revision(start)
        return Reader(self.access, Wanted(self.stream, filters, policy, start, headers_only))

    def begin(self, connection: Connection, reader: Reader) -> Ops[None]:
        """Create the reader's consumer."""
        try:
            yield from reader.begin(connection)
        except StreamNotFoundError:
            raise self.no_bucket() from None

    def delivered(self, found: Delivered) -> Entry:
        """Convert a message from a reader to an entry."""
        sent = found.message
        return self._entry(sent.subject, sent.headers, sent.data, found.sequence, found.time)

    def all(self, connection: Connection, patterns: Iterable[str], *, history: bool = False) -> Ops[list[Entry]]:
        """Return all current entries, including delete markers."""
        reader = self.reader(patterns, policy="all" if history else "last_per_subject")
        try:
            yield from self.begin(connection, reader)
            entries = []
            while (found := (yield from reader.next_stored())) is not None:
                entries.append(self.delivered(found))
        finally:
            reader.close()
        return entries

    # Writing

    def put(self, connection: Connection, key: str, value: object, headers: Mapping[str, str]) -> Ops[int]:
        """Write a value unconditionally."""
        subject = self.put_prefix + _rules.key(key)
        data = _rules.value(value)
        self._check_size(key, data)
        try:
            told = yield from connection.store(subject, data, headers)
        except StreamNotFoundError:
            yield from self._described(connection)
            raise
        return number(told.get("seq"))

    def _check_size(self, key: str, data: bytes) -> None:
        if self.max_value is not None and len(data) > self.max_value:
            raise RuleError(
                f"{len(data)} bytes for key {key!r} are more than bucket {self.name} takes: max_value_size is "
                f"{self.max_value}"
            )

    def replace(self, connection: Connection, key: str, value: object, revision: int, ttl: Seconds | None) -> Ops[int]:
        """Write a value only if the key's last revision is `revision`; 0 means that the key has no entry."""
        headers = write_headers("put", _rules.revision(revision, zero=True), ttl)
        try:
            return (yield from self.put(connection, key, value, headers))
        except WrongRevisionError as error:
            raise WrongRevisionError(
                f"key {key!r} of bucket {self.name} is not at revision {revision}: {error}", error.code, error.err_code
            ) from None

    def create(self, connection: Connection, key: str, value: object, ttl: Seconds | None) -> Ops[int]:
        """Write a value only if the key has none or was deleted."""
        expected = 0
        while True:
            try:
                return (yield from self.replace(connection, key, value, expected, ttl))
            except WrongRevisionError as error:  # noqa: PERF203 - a turn is a round trip
                # The key has an entry. A delete marker is replaced if it is still the last entry. If the entry has
                # been removed since, the next attempt expects none. Only a concurrent write causes another attempt.
                entry = yield from self.entry(connection, key)
                if entry is not None and entry.operation == "put":
                    raise KeyExistsError(
                        f"key {key!r} of bucket {self.name} has a value already, of revision {entry.revision}",
                        error.code,
                        error.err_code,
                    ) from None
                expected = 0 if entry is None else entry.revision

    def remove(
        self, connection: Connection, key: str, revision: int | None, *, purge: bool, ttl: Seconds | None = None
    ) -> Ops[int]:
        """Write a delete marker, or a purge marker, which also removes the key's history."""
        expected = None if revision is None else _rules.revision(revision)
        headers = write_headers("purge" if purge else "delete", expected, ttl)
        return (yield from self.put(connection, key, b"", headers))

    def discard(self, connection: Connection, key: str) -> Ops[bytes]:
        """Delete a key that has a value, and return the value."""
        while True:
            entry = yield from self.value(connection, key)
            try:
                yield from self.remove(connection, key, entry.revision, purge=False)
            except WrongRevisionError:
                # Another client has written the key in between: delete and return the new value.
                continue
            return entry.value

    def compact(self, connection: Connection, older_than: Seconds) -> Ops[int]:
        """Remove delete markers and the history before them; return the number of removed messages."""
        age = _rules.nanoseconds(older_than, "older_than") / 1e9
        told = yield from self._described(connection)
        now = _rules.time(told.get("ts"))
        removed = 0
        for entry in (yield from self.all(connection, ())):
            if entry.operation == "put":
                continue
            keep = 1 if (now - entry.created).total_seconds() < age else 0
            body = {"filter": self.prefix + entry.key, "seq": entry.revision + 1 - keep}
            removed += number((yield from self._purged(connection, body)).get("purged"))
        return removed


def operation(headers: Mapping[str, str]) -> _Operation:
    """Return the operation of an entry. Markers of the server are purges, or deletes if their reason is `Remove`."""
    return _stonechat.operation(headers.get("KV-Operation"), headers.get("Nats-Marker-Reason"))


def write_headers(operation: _Operation, expected: int | None, ttl: Seconds | None) -> dict[str, str]:
    """Return the headers of a write: operation, expected revision and time to live."""
    ttl_ns = None if ttl is None else _rules.nanoseconds(ttl, "a ttl", 1.0)
    return dict(_stonechat.write_headers(operation, expected, ttl_ns))
