"""Downloads an object, and goes on where an earlier download was interrupted."""

import argparse
import asyncio
import json
import os
import signal
from hashlib import sha256
from pathlib import Path

from archive import REPORTS, BrokenObjectError, arguments, check, chunks, connect, resolve
from nats.js.errors import NotFoundError


def begun(part: Path, note: Path, nuid: str) -> tuple[int, int]:
    """What an earlier attempt has left: the sequence of its last chunk, and its bytes.

    The note says which object that was. A new version has another NUID, and other chunks: then all begins anew.
    """
    if not note.exists() or not part.exists():
        return 0, 0
    left = json.loads(note.read_text())
    if left["nuid"] != nuid or part.stat().st_size < left["size"]:
        return 0, 0
    return left["sequence"], left["size"]


async def main(options: argparse.Namespace) -> None:
    """Chunk by chunk: first the bytes, then the note that they are there."""
    nc = await connect(options.url)
    js = nc.jetstream()
    try:
        info = await resolve(js, REPORTS, options.name)
    except NotFoundError:
        raise SystemExit(f"{options.name} not found in {REPORTS}") from None
    part = options.file.with_name(f"{options.file.name}.part")
    note = options.file.with_name(f"{options.file.name}.note")
    after, size = begun(part, note, info.nuid)
    print(f"{info.name}: " + (f"going on after {size} of {info.size} bytes" if size else f"{info.size} bytes"))
    taken = 0
    digest = sha256()
    with part.open("r+b" if size else "wb") as file:
        while file.tell() < size:
            digest.update(file.read(min(1 << 20, size - file.tell())))
        file.truncate()
        if size < (info.size or 0):
            async for sequence, chunk in chunks(js, info, after=after):
                file.write(chunk)
                file.flush()
                digest.update(chunk)
                size += len(chunk)
                note.write_text(json.dumps({"nuid": info.nuid, "sequence": sequence, "size": size}))
                taken += 1
                if taken == options.die_after:
                    print(f"after {taken} chunks the power goes")
                    os.kill(os.getpid(), signal.SIGKILL)
    await nc.close()
    note.unlink(missing_ok=True)
    try:
        check(info, digest.digest(), size)
    except BrokenObjectError as error:
        part.unlink()
        raise SystemExit(f"{error}; nothing is kept") from None
    part.rename(options.file)
    print(f"{taken} chunks fetched, digest right")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("name", help="which object")
    parser.add_argument("file", type=Path, help="where to")
    parser.add_argument("--die-after", type=int, help="end without warning after so many chunks")
    asyncio.run(main(parser.parse_args()))
