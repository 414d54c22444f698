"""Asks which services are there, what they offer, and how much they have done."""

import argparse
import asyncio
import json
from typing import Any

from scatter import gather_answers
from shop import arguments, connect


def ping(services: list[dict[str, Any]]) -> None:
    """Who is there?"""
    for one in services:
        print(f"{one['name']} {one['version']} at the {one['metadata']['desk']} desk")


def info(services: list[dict[str, Any]]) -> None:
    """What can they do?"""
    for one in services:
        print(f"{one['name']} {one['version']}: {one['description']}")
        for endpoint in one["endpoints"]:
            print(f"  {endpoint['subject']} (queue group {endpoint['queue_group']})")


def stats(services: list[dict[str, Any]]) -> None:
    """What have they done? Each instance counts for itself, so we add up."""
    totals: dict[str, list[int]] = {}
    for one in services:
        print(f"at the {one['metadata']['desk']} desk")
        for endpoint in one["endpoints"]:
            mean_us = endpoint["average_processing_time"] // 1000  # given in nanoseconds
            print(f"  {endpoint['subject']}: {endpoint['num_requests']} requests, {mean_us} us each")
            if endpoint["last_error"]:
                print(f"  last error: {endpoint['last_error']}")
            sums = totals.setdefault(endpoint["subject"], [0, 0])
            sums[0] += endpoint["num_requests"]
            sums[1] += endpoint["num_errors"]
    for subject, (requests, errors) in totals.items():
        print(f"in all {subject}: {requests} requests, {errors} errors")


async def main(options: argparse.Namespace) -> None:
    """Discovery is nothing but scatter-gather on an agreed subject."""
    nc = await connect(options.url)
    subject = f"$SRV.{options.what.upper()}" + (f".{options.service}" if options.service else "")
    answers = await gather_answers(nc, subject, longest=2.0, quiet=0.5)
    services = [json.loads(msg.data) for msg in answers]
    services.sort(key=lambda one: (one["name"], str(one["metadata"])))
    print(f"{len(services)} answers on {subject}")
    {"ping": ping, "info": info, "stats": stats}[options.what](services)
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("what", choices=["ping", "info", "stats"])
    parser.add_argument("--service", default="", help="only services of this name")
    asyncio.run(main(parser.parse_args()))
