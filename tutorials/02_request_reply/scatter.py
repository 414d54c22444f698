"""Scatter-gather: one question, the answers of all who have one."""

import asyncio

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg


async def gather_answers(
    nc: Client,
    subject: str,
    payload: bytes = b"",
    *,
    longest: float,
    quiet: float | None = None,
    enough: int | None = None,
) -> list[Msg]:
    """Publish once and collect until one of three things happens.

    `longest` seconds have passed, or no answer has come for `quiet` seconds, or there are
    `enough` answers. Nobody knows how many will answer, so a deadline is a must.
    """
    inbox = nc.new_inbox()
    incoming = await nc.subscribe(inbox)
    await nc.publish(subject, payload, reply=inbox)

    clock = asyncio.get_running_loop().time
    deadline = clock() + longest
    answers: list[Msg] = []
    try:
        while enough is None or len(answers) < enough:
            wait = deadline - clock()
            if answers and quiet is not None:
                wait = min(wait, quiet)
            if wait <= 0:
                break
            msg = await incoming.next_msg(timeout=wait)
            if msg.headers and msg.headers.get("Status") == "503":
                break  # no responders: the server itself tells us
            answers.append(msg)
    except nats.errors.TimeoutError:
        pass  # the usual end, not an error: we have what we have
    finally:
        await incoming.unsubscribe()
    return answers
