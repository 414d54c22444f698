"""How a client talks to a service: JSON there, JSON or a `ServiceError` back."""

import json
from collections.abc import Mapping
from typing import Any

from nats.aio.client import Client
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER, ServiceError


async def call(
    nc: Client,
    subject: str,
    body: Mapping[str, Any],
    *,
    timeout: float = 2.0,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Call an endpoint; an error header in the answer becomes an exception."""
    answer = await nc.request(
        subject,
        json.dumps(body).encode(),
        timeout=timeout,
        headers=dict(headers) if headers else None,
    )
    if answer.headers and ERROR_CODE_HEADER in answer.headers:
        code = answer.headers[ERROR_CODE_HEADER]
        raise ServiceError(code, answer.headers.get(ERROR_HEADER, ""))
    result: dict[str, Any] = json.loads(answer.data)
    return result
