"""Measures how many orders a second 1, 2, 4, ... worker processes finish."""

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from pathlib import Path

from fleet import hire, send_home
from kitchen import DONE, ORDERS, arguments, connect
from nats.aio.client import Client
from nats.aio.msg import Msg


async def orders_per_second(nc: Client, count: int) -> float:
    """Publish `count` orders at once; the clock stops when the last one is done."""
    done = 0
    all_done = asyncio.Event()

    async def report(_msg: Msg) -> None:
        nonlocal done
        done += 1
        if done == count:
            all_done.set()

    reports = await nc.subscribe(DONE, cb=report)
    await nc.flush()
    start = time.perf_counter()
    for number in range(count):
        await nc.publish(ORDERS, json.dumps({"id": number}).encode())
    await asyncio.wait_for(all_done.wait(), timeout=120)
    elapsed = time.perf_counter() - start
    await reports.unsubscribe()
    return count / elapsed


async def measure(options: argparse.Namespace, work: str, workers: int) -> float:
    """The median of several rounds with one fleet."""
    work_options = ("--work", work, "--seconds", "0.005")
    names = [f"cook-{number}" for number in range(1, workers + 1)]
    cooks = [await hire(options.url, name, *work_options) for name in names]
    nc = await connect(options.url)
    try:
        rounds = [await orders_per_second(nc, options.orders) for _ in range(options.rounds)]
    finally:
        await nc.close()
        await asyncio.gather(*(send_home(cook) for cook in cooks))
    return statistics.median(rounds)


def save(options: argparse.Namespace, workers: list[int], results: dict[str, list[float]]) -> None:
    """Keep the figures, and what they were measured on."""
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    report = {
        "note": options.note,
        "machine": machine,
        "orders": options.orders,
        "workers": workers,
        **results,
    }
    Path(options.out).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


async def main(options: argparse.Namespace) -> None:
    """Measure both kinds of work with all fleet sizes; print a table, write a file."""
    workers = [int(text) for text in options.workers.split(",")]
    results: dict[str, list[float]] = {}
    for work in ("wait", "compute"):
        results[work] = []
        for number in workers:
            rate = await measure(options, work, number)
            results[work].append(round(rate, 1))
            print(f"{work}, {number} workers: {rate:.0f} orders/s")
    save(options, workers, results)
    print(f"written: {options.out}")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--workers", default="1,2,4,8", help="fleet sizes")
    parser.add_argument("--orders", type=int, default=800, help="orders in each round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median counts")
    parser.add_argument("--note", default="", help="kept with the figures: which server, what else ran")
    parser.add_argument("--out", default="my-scaling.json", help="the file for the figures")
    asyncio.run(main(parser.parse_args()))
