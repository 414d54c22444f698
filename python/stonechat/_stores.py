"""The methods of a server for its buckets, object stores, streams and consumers, which need no socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Unpack

    from ._link import Access, Connection, Ops
    from .kv import AsyncBucket, Bucket, BucketOptions
    from .objects import AsyncObjectStore, ObjectStore, StoreOptions
    from .streams import AsyncConsumers, AsyncStreams, Consumers, Streams


class _Opened(Protocol):
    """Type of the operations on a bucket or an object store."""

    def open(self, connection: Connection, options: Mapping[str, Any], *, create: bool) -> Ops[None]:
        """Find the store, or create it."""


R = TypeVar("R", bound=_Opened)


class Stores:
    """Base class of `Server` with its buckets, object stores and streams. Their modules are imported at first use."""

    def _access(self, login: Mapping[str, str] | None) -> Access:
        """Return the access to the server with these credentials, or with those of the server's options."""
        raise NotImplementedError

    def kv(
        self,
        name: str,
        *,
        create: bool = True,
        login: Mapping[str, str] | None = None,
        **options: Unpack[BucketOptions],
    ) -> Bucket:
        """Open a key-value bucket, which is used like a dictionary of bytes. Create it if it does not exist.

            config = server.kv("CONFIG", history=5)
            config["db.url"] = b"pg://one"

        Neither a socket nor a client library is needed. The server treats the bucket like any client, with the same
        rules, permissions and errors. It needs `jetstream=True`.

        Args:
            name: Name of the bucket.
            create: Create the bucket if it does not exist.
            login: Credentials (`user` and `password`, or `token`) instead of those of the server's options. They
                select the account of the bucket.
            options: Options of a new bucket, see [`BucketOptions`][stonechat.kv.BucketOptions]. An existing bucket
                must have the same ones.

        Raises:
            RuleError: If the name or an option is not valid; the message says why.
            BucketNotFoundError: If the bucket does not exist and `create` is false.
            BucketExistsError: If the bucket exists with a configuration that differs from the options.
            JetStreamError: If JetStream is off, or the server refuses the request for another reason.
            ConnectError: If the credentials are wrong.
        """
        from ._kv import Rules
        from .kv import Bucket

        access, rules, opening = self._opening(Rules, name, login, options, create)
        access.run(opening)
        return Bucket(access, rules)

    async def kv_async(
        self,
        name: str,
        *,
        create: bool = True,
        login: Mapping[str, str] | None = None,
        **options: Unpack[BucketOptions],
    ) -> AsyncBucket:
        """Like [`kv`][stonechat.Server.kv], for event loops: the methods of the bucket are awaited."""
        from ._kv import Rules
        from .kv import AsyncBucket

        access, rules, opening = self._opening(Rules, name, login, options, create)
        await access.run_async(opening)
        return AsyncBucket(access, rules)

    def objects(
        self,
        name: str,
        *,
        create: bool = True,
        login: Mapping[str, str] | None = None,
        **options: Unpack[StoreOptions],
    ) -> ObjectStore:
        """Open an object store, which holds files of any size in chunks. Create it if it does not exist.

            reports = server.objects("REPORTS")
            reports.put("2024.pdf", Path("report.pdf"))

        Arguments and errors are those of [`kv`][stonechat.Server.kv]. The options of a new store are described in
        [`StoreOptions`][stonechat.objects.StoreOptions].
        """
        from ._objects import Rules
        from .objects import ObjectStore

        access, rules, opening = self._opening(Rules, name, login, options, create)
        access.run(opening)
        return ObjectStore(access, rules)

    async def objects_async(
        self,
        name: str,
        *,
        create: bool = True,
        login: Mapping[str, str] | None = None,
        **options: Unpack[StoreOptions],
    ) -> AsyncObjectStore:
        """Like [`objects`][stonechat.Server.objects], for event loops: the methods of the store are awaited."""
        from ._objects import Rules
        from .objects import AsyncObjectStore

        access, rules, opening = self._opening(Rules, name, login, options, create)
        await access.run_async(opening)
        return AsyncObjectStore(access, rules)

    def _opening(
        self,
        kind: Callable[[Access, str], R],
        name: str,
        login: Mapping[str, str] | None,
        options: Mapping[str, Any],
        create: bool,
    ) -> tuple[Access, R, Callable[[Connection], Ops[None]]]:
        """Return the access to a store, its operations object, and the operation that opens or creates it."""
        access = self._access(login)
        rules = kind(access, name)
        return access, rules, lambda connection: rules.open(connection, options, create=create)

    @property
    def streams(self) -> Streams:
        """The streams, as a mapping by name: create, fill and inspect them.

        orders = server.streams.create("ORDERS", ["orders.*"])
        orders.seed([("orders.new", b"1")])
        orders.wait_for(2)
        """
        from .streams import Streams

        return Streams(self._access(None))

    @property
    def streams_async(self) -> AsyncStreams:
        """Like [`streams`][stonechat.Server.streams], for event loops."""
        from .streams import AsyncStreams

        return AsyncStreams(self._access(None))

    @property
    def consumers(self) -> Consumers:
        """The consumers of all streams."""
        from .streams import Consumers

        return Consumers(self._access(None))

    @property
    def consumers_async(self) -> AsyncConsumers:
        """Like [`consumers`][stonechat.Server.consumers], for event loops."""
        from .streams import AsyncConsumers

        return AsyncConsumers(self._access(None))
