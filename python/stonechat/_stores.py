"""What a server has in store: buckets, objects, streams and consumers, without a socket."""

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
    """The rules of a bucket or an object store."""

    def open(self, connection: Connection, options: Mapping[str, Any], *, create: bool) -> Ops[None]:
        """Find it, or make it."""


R = TypeVar("R", bound=_Opened)


class Stores:
    """The part of a server that knows its stores. What they need is imported when they are asked for."""

    def _access(self, login: Mapping[str, str] | None) -> Access:
        """How a store reaches the server, with these credentials or those of its options."""
        raise NotImplementedError

    def kv(
        self,
        name: str,
        *,
        create: bool = True,
        login: Mapping[str, str] | None = None,
        **options: Unpack[BucketOptions],
    ) -> Bucket:
        """A key-value bucket: a dictionary of bytes. It is made if there is none.

            config = server.kv("CONFIG", history=5)
            config["db.url"] = b"pg://one"

        Nothing goes over a socket, and no client library is needed; rules, permissions and errors are those of any
        client, because it is the same code. The server needs `jetstream=True`.

        Args:
            name: Name of the bucket.
            create: Make the bucket if there is none.
            login: Credentials, `user` and `password` or `token`, instead of those of the server's options. They say
                in which account the bucket is.
            options: What a new bucket is like, see [`BucketOptions`][stonechat.kv.BucketOptions]. If the bucket is
                there already it must be like that.

        Raises:
            RuleError: If the name or an option breaks a rule, which the message tells.
            BucketNotFoundError: If there is none, with `create=False`.
            BucketExistsError: If there is one that the options do not fit.
            JetStreamError: If the server has no JetStream, or refuses for another reason.
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
        """Like [`kv`][stonechat.Server.kv], for event loops: a bucket whose methods are awaited."""
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
        """An object store: files of any size, in chunks. It is made if there is none.

            reports = server.objects("REPORTS")
            reports.put("2024.pdf", Path("report.pdf"))

        Arguments and errors are those of [`kv`][stonechat.Server.kv]; what a new store is like says
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
        """Like [`objects`][stonechat.Server.objects], for event loops: a store whose methods are awaited."""
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
        """How a store is reached, its rules, and the operation that finds or makes it."""
        access = self._access(login)
        rules = kind(access, name)
        return access, rules, lambda connection: rules.open(connection, options, create=create)

    @property
    def streams(self) -> Streams:
        """The streams, by name: to make them, fill them and look at what they have.

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
