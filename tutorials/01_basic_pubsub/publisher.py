"""Publish each TEXT as one message on SUBJECT."""

import argparse
import asyncio

from lab import URL, connect


async def publish(subject: str, texts: list[str]) -> None:
    """Publish all texts in order, and see to it that they leave."""
    nc = await connect(URL, name="publisher")
    for text in texts:
        await nc.publish(subject, text.encode())
    # publish() only fills a buffer; flush() sends it, and waits for the server to answer.
    await nc.flush()
    print(f"Published {len(texts)} to {subject}")
    await nc.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", metavar="SUBJECT", help="for instance greet.ann")
    parser.add_argument("texts", metavar="TEXT", nargs="+", help="the message's payload")
    arguments = parser.parse_args()
    asyncio.run(publish(arguments.subject, arguments.texts))


if __name__ == "__main__":
    main()
