"""Send bytes, text, JSON, headers and nothing at all, and show what arrives."""

import asyncio
import json
from dataclasses import asdict, dataclass

from lab import URL, connect
from nats.aio.client import Client
from nats.aio.msg import Msg


@dataclass(frozen=True)
class Order:
    """What our imaginary shop sends around."""

    id: int
    item: str
    amount: int

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def decode(payload: bytes) -> "Order":
        """From JSON; raises ValueError, KeyError or TypeError on anything that is no order."""
        fields = json.loads(payload)
        return Order(id=int(fields["id"]), item=str(fields["item"]), amount=int(fields["amount"]))


async def round_trip(nc: Client, payload: bytes = b"", headers: dict[str, str] | None = None) -> Msg:
    """Publish to ourselves, and take what arrives."""
    inbox = nc.new_inbox()  # a subject that nobody else uses
    subscription = await nc.subscribe(inbox)
    await nc.publish(inbox, payload, headers=headers)
    msg = await subscription.next_msg(timeout=10)
    await subscription.unsubscribe()
    return msg


async def main() -> None:
    """One message of each sort."""
    nc = await connect(URL, name="payloads")

    msg = await round_trip(nc, bytes([0, 255, 13, 10]))
    print(f"bytes:   {msg.data.hex(' ')}")

    msg = await round_trip(nc, "Grüße ☕".encode())
    print(f"text:    {msg.data.decode()!r}, {len(msg.data)} bytes")

    msg = await round_trip(nc, Order(id=7, item="tea", amount=2).encode())
    print(f"json:    {Order.decode(msg.data)}")

    msg = await round_trip(nc, b"{}", {"Content-Type": "application/json", "Trace-Id": "42"})
    print(f"headers: {msg.headers}")

    msg = await round_trip(nc)
    print(f"nothing: {len(msg.data)} bytes, headers {msg.headers}")

    await nc.close()


if __name__ == "__main__":
    asyncio.run(main())
