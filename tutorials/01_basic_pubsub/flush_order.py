"""Play a server that only takes notes, and see in which order nats-py sends its commands."""

import asyncio
from asyncio import StreamReader, StreamWriter

import nats

INFO = b'INFO {"server_id":"notes","version":"2.15.2","max_payload":1048576,"headers":true}\r\n'


async def main() -> None:
    """Subscribe, publish, flush twice, and print what arrived."""
    notes: list[str] = []

    async def take_notes(reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(INFO)
        while line := await reader.readline():
            command = line.split()[0].decode()
            if command in ("SUB", "PUB", "PING"):
                notes.append(command)
            if command == "PING":
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(take_notes, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    nc = await nats.connect(f"nats://127.0.0.1:{port}")
    notes.clear()  # CONNECT and its PING
    await nc.subscribe("numbers")
    await nc.publish("numbers", b"one")
    await nc.flush()
    await nc.flush()
    print(" ".join(notes))
    await nc.close()
    server.close()
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
