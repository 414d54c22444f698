"""A file service: a web page to which files are dragged, with the object store behind it."""

import argparse
import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import uvicorn
from archive import BrokenObjectError, arguments, connect, download, objects, resolve, state_file, upload
from nats.js import JetStreamContext, api
from nats.js.errors import NotFoundError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

BUCKET = "FILES"
LARGEST = 1 << 30
PAGE = Path(__file__).with_name("share.html")


class Service:
    """The handlers; each passes pieces on as they come, so that memory does not depend on the size of a file."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def page(self, _: Request) -> Response:
        """The web page."""
        return FileResponse(PAGE, headers={"Content-Security-Policy": "default-src 'self' 'unsafe-inline'"})

    async def listing(self, _: Request) -> Response:
        """What is there, as JSON."""
        found = await objects(await self._js.object_store(BUCKET))
        return JSONResponse([{"name": info.name, "size": info.size, "digest": info.digest} for info in found])

    async def put(self, request: Request) -> Response:
        """The body becomes an object. Who goes away in the middle leaves nothing behind."""

        async def pieces() -> AsyncIterator[bytes]:
            total = 0
            async for piece in request.stream():
                total += len(piece)
                if total > LARGEST:
                    raise HTTPException(413, f"a file may have {LARGEST} bytes")
                yield piece

        try:
            info = await upload(self._js, BUCKET, request.path_params["name"], pieces())
        except ClientDisconnect:
            print(f"{request.path_params['name']}: the upload broke off, nothing is kept")
            return Response(status_code=400)
        return JSONResponse({"name": info.name, "size": info.size, "digest": info.digest}, 201)

    async def get(self, request: Request) -> Response:
        """An object as a download."""
        name = request.path_params["name"]
        info = await self._found(name)
        headers = {
            "Content-Length": str(info.size),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
            "X-Content-Type-Options": "nosniff",
        }
        return StreamingResponse(self._proven(name), 200, headers, "application/octet-stream")

    async def _proven(self, name: str) -> AsyncIterator[bytes]:
        """The bytes of an object; the last chunk waits until the digest has proved right.

        If it has not, the connection breaks before the announced length, and the browser reports a failed download.
        """
        held = b""
        try:
            async for chunk in download(self._js, BUCKET, name):
                if held:
                    yield held
                held = chunk
        except BrokenObjectError as error:
            print(f"{error}; the download was broken off")
            raise
        yield held

    async def delete(self, request: Request) -> Response:
        """No object, no chunks."""
        info = await self._found(request.path_params["name"])
        await (await self._js.object_store(BUCKET)).delete(info.name)
        return Response(status_code=204)

    async def _found(self, name: str) -> api.ObjectInfo:
        try:
            return await resolve(self._js, BUCKET, name)
        except NotFoundError:
            raise HTTPException(404, f"{name} not found") from None
        except BrokenObjectError as error:
            raise HTTPException(502, str(error)) from None


def app(js: JetStreamContext) -> Starlette:
    """The routes."""
    service = Service(js)
    name = "/files/{name}"
    return Starlette(
        routes=[
            Route("/", service.page),
            Route("/files", service.listing),
            Route(name, service.get, methods=["GET"]),
            Route(name, service.put, methods=["PUT"]),
            Route(name, service.delete, methods=["DELETE"]),
        ]
    )


async def main(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    nc = await connect(options.url, allow_reconnect=True)
    js = nc.jetstream()
    await js.create_object_store(BUCKET)
    listener = socket.create_server(("127.0.0.1", options.port))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    options.address.write_text(url)
    config = uvicorn.Config(app(js), log_level="critical", lifespan="off", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    print(f"files at {url}")
    await server.serve(sockets=[listener])
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--port", type=int, default=0, help="where to listen (default: any free port)")
    parser.add_argument("--address", type=Path, default=state_file("share.url"), help="write the address to this file")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
