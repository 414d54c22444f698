"""Checks the installed package with only the standard library: import, a server, a message, both commands."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import sysconfig
import urllib.parse

import stonechat


def main() -> None:
    """Runs the checks; a failure raises an exception."""
    with stonechat.Server(port=0, jetstream=True) as server:
        url = urllib.parse.urlsplit(server.url)
        with socket.create_connection((url.hostname or "", url.port or 0), timeout=10) as connection:
            replies = connection.makefile("rb")
            assert replies.readline().startswith(b"INFO "), "the server did not greet"
            connection.sendall(b'CONNECT {"verbose":false}\r\nSUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n')
            received = [replies.readline() for _ in range(3)]
            assert received == [b"MSG a 1 2\r\n", b"hi\r\n", b"PONG\r\n"], received
    for command in ("stonechat", "stonechat-server"):
        found = shutil.which(command, path=sysconfig.get_path("scripts")) or shutil.which(command)
        assert found, f"{command} is not installed"
        subprocess.run([found, "--version"], check=True, timeout=30)
    print(f"stonechat works with Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
