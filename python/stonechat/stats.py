"""Counters of a running server."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ServerStats"]


@dataclass(frozen=True)
class ServerStats:
    """Counters of a server at one moment, with the names of nats-server's `/varz`.

    [`Server.varz`][stonechat.Server.varz] returns the whole document.
    """

    connections: int
    """Number of connected clients."""
    total_connections: int
    """Number of clients that have connected since the start."""
    subscriptions: int
    """Number of current subscriptions."""
    in_msgs: int
    """Messages received."""
    out_msgs: int
    """Messages sent; one message to three subscribers counts three times."""
    in_bytes: int
    """Bytes of the messages received."""
    out_bytes: int
    """Bytes of the messages sent."""
    slow_consumers: int
    """Number of clients that were closed because they read too slowly."""
    mem: int
    """Resident memory of the whole process in bytes."""

    @classmethod
    def from_varz(cls, varz: Mapping[str, Any]) -> ServerStats:
        """Take the counters from a `/varz` document."""
        return cls(**{field.name: int(varz.get(field.name, 0)) for field in fields(cls)})

    def _repr_html_(self) -> str:
        from ._html import stats

        return stats(self)
