"""Ask the server which patterns match which subjects: subscribe, publish, and look."""

import argparse
import asyncio

from lab import URL, connect
from nats.aio.msg import Msg


async def matches(patterns: list[str], subjects: list[str]) -> set[tuple[str, str]]:
    """Which pairs of pattern and subject the server brings together."""
    found: set[tuple[str, str]] = set()

    def remember(pattern: str, msg: Msg) -> None:
        found.add((pattern, msg.subject))

    nc = await connect(URL, name="wildcards")
    for pattern in patterns:

        async def note(msg: Msg, pattern: str = pattern) -> None:
            remember(pattern, msg)

        await nc.subscribe(pattern, cb=note)
    for subject in subjects:
        await nc.publish(subject)
    await nc.flush()
    await nc.flush()  # everything that matches has come back to us
    await nc.drain()
    return found


def show(patterns: list[str], subjects: list[str], found: set[tuple[str, str]]) -> None:
    """Print a table: a line for each subject, a column for each pattern."""
    first = max(map(len, subjects))
    print("  ".join([" " * first, *patterns]))
    for subject in subjects:
        marks = [("yes" if (pattern, subject) in found else "-").ljust(len(pattern)) for pattern in patterns]
        print("  ".join([subject.ljust(first), *marks]).rstrip())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pattern", action="append", required=True, help="may be repeated")
    parser.add_argument("subjects", metavar="SUBJECT", nargs="+")
    arguments = parser.parse_args()
    found = asyncio.run(matches(arguments.pattern, arguments.subjects))
    show(arguments.pattern, arguments.subjects, found)


if __name__ == "__main__":
    main()
