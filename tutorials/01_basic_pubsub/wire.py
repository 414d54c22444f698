"""Speak the NATS protocol by hand, over a plain socket, and show both sides of the talk."""

import argparse
import json
import socket
from io import BufferedRWPair
from urllib.parse import urlsplit

from lab import URL, advice


def say(wire: BufferedRWPair, line: str) -> None:
    """Send one line."""
    print(f"> {line}")
    wire.write(f"{line}\r\n".encode())
    wire.flush()


def hear(wire: BufferedRWPair) -> str:
    """Read and show one line."""
    line = wire.readline().decode().rstrip()
    print(f"< {line}" if line else "< (the server has hung up)")
    return line


def talk(wire: BufferedRWPair) -> None:
    """Subscribe, publish, and get our own message back."""
    say(wire, "SUB greet.* 1")
    say(wire, "PUB greet.ann 5")
    say(wire, "hello")
    say(wire, "PING")
    while hear(wire) != "PONG":
        pass


def announce_too_much(wire: BufferedRWPair, max_payload: int) -> None:
    """Announce a payload that is one byte too long, and see what the server thinks of it."""
    say(wire, f"PUB greet.ann {max_payload + 1}")
    while hear(wire):
        pass


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--too-big", action="store_true", help="break max_payload instead")
    arguments = parser.parse_args()
    address = urlsplit(URL)
    host, port = address.hostname or "127.0.0.1", address.port or 4222
    try:
        connection = socket.create_connection((host, port), timeout=10)
    except OSError as problem:
        raise SystemExit(advice(URL, problem)) from None
    with connection, connection.makefile("rwb") as wire:
        info = json.loads(wire.readline().decode().removeprefix("INFO "))
        print("< INFO", json.dumps({key: info[key] for key in ("headers", "max_payload")}))
        say(wire, 'CONNECT {"verbose":false}')
        if arguments.too_big:
            announce_too_much(wire, info["max_payload"])
        else:
            talk(wire)


if __name__ == "__main__":
    main()
