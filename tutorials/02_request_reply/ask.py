"""Asks one question and prints the answer."""

import argparse
import asyncio
import sys
import time

import nats.errors
from shop import arguments, connect


async def main(options: argparse.Namespace) -> int:
    """Send one request; the exit code says whether there was an answer."""
    nc = await connect(options.url)
    question = options.question.encode()
    start = time.perf_counter()
    try:
        answer = await nc.request(options.subject, question, timeout=options.timeout)
    except nats.errors.NoRespondersError:
        waited_ms = (time.perf_counter() - start) * 1000
        print(f"nobody listens on {options.subject} (we knew after {waited_ms:.1f} ms)")
        return 1
    except nats.errors.TimeoutError:
        print(f"no answer within {options.timeout} s")
        return 1
    else:
        print(answer.data.decode())
        return 0
    finally:
        await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("question", help="what to send, for example the name of a book")
    parser.add_argument("--subject", default="shop.price", help="whom to ask")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds to wait")
    sys.exit(asyncio.run(main(parser.parse_args())))
