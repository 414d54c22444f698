"""Counters of a running server."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ServerStats"]


@dataclass(frozen=True)
class ServerStats:
    """Counters of a server at one moment, by the names of nats-server's `/varz`.

    [`Server.varz`][stonechat.Server.varz] has everything else.
    """

    connections: int
    """Clients connected now."""
    total_connections: int
    """Clients that connected since the start."""
    subscriptions: int
    """Subscriptions held now."""
    in_msgs: int
    """Messages received."""
    out_msgs: int
    """Messages sent; one message to three subscribers counts three times."""
    in_bytes: int
    """Bytes of the messages received."""
    out_bytes: int
    """Bytes of the messages sent."""
    slow_consumers: int
    """Clients that were closed because they did not keep up."""
    mem: int
    """Resident memory in bytes, of the whole process."""

    @classmethod
    def from_varz(cls, varz: Mapping[str, Any]) -> ServerStats:
        """Pick the counters out of a `/varz` document."""
        return cls(**{field.name: int(varz.get(field.name, 0)) for field in fields(cls)})

    def _repr_html_(self) -> str:
        from ._html import stats

        return stats(self)
