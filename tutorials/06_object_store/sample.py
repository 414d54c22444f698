"""Writes a file to play with: its bytes look like chance, and are the same each time."""

import argparse
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path


def pieces(mebibytes: int, seed: int = 1) -> Iterator[bytes]:
    """A mebibyte at a time."""
    block = sha256(str(seed).encode()).digest()
    for _ in range(mebibytes):
        parts = []
        for _ in range(1024):
            block = sha256(block).digest()
            parts.append(block * 32)
        yield b"".join(parts)


def main(options: argparse.Namespace) -> None:
    """Write it."""
    options.file.parent.mkdir(exist_ok=True)
    with options.file.open("wb") as file:
        file.writelines(pieces(options.mebibytes, options.seed))
    print(f"{options.file}: {options.file.stat().st_size} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("mebibytes", type=int)
    parser.add_argument("--seed", type=int, default=1, help="another number gives another file")
    main(parser.parse_args())
