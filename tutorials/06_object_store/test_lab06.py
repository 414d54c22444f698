"""Runs every step of this lab's README, and checks what the steps can't show."""

import asyncio
import http.client
import importlib.util
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import nats
import nats.js.errors
import pytest
from labkit import LabRun, LabServer, Readme, Section

LAB = Path(__file__).parent
README = Readme(LAB / "README.md")
SCRIPTS = sorted(
    path.name
    for path in LAB.glob("*.py")
    if not path.name.startswith("test_") and "__main__" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("section", README.sections, ids=str)
def test_section(section: Section, lab_run: LabRun) -> None:
    """Every command of the section does what the README says."""
    lab_run(section)


def test_listings_are_true() -> None:
    """Every listing is an excerpt of the file that it names."""
    assert README.check_listings() > 0


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_explains_itself(script: str) -> None:
    """``--help`` says what the script does, and where it connects to."""
    done = subprocess.run([sys.executable, LAB / script, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    # sample.py alone talks to no server.
    assert ("mebibytes" if script == "sample.py" else "--url") in done.stdout


def test_every_script_is_used() -> None:
    """The README runs each script: none is left over."""
    commands = [line for block in README.blocks for line in block.lines if line.startswith("$ ")]
    unused = [script for script in SCRIPTS if not any(f"python {script}" in line for line in commands)]
    assert unused == []


def run(server: LabServer, script: str, *words: "str | Path") -> str:
    """Run a script; its output."""
    done = subprocess.run(
        [sys.executable, LAB / script, "--url", server.url, *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_picture_is_what_the_lab_draws(lab_server: LabServer, tmp_path: Path) -> None:
    """Three objects give the picture that the README shows."""
    lab_server.start()
    for seed, (name, mebibytes) in enumerate({"report-v1": 4, "photo": 2, "film": 6}.items()):
        words = [str(tmp_path / name), str(mebibytes), "--seed", str(seed)]
        subprocess.run([sys.executable, LAB / "sample.py", *words], check=True, stdout=subprocess.DEVNULL)
    run(lab_server, "objects.py", "new", "PICTURE")
    for name in ("report-v1", "photo", "film"):
        run(lab_server, "objects.py", "put", "PICTURE", name, tmp_path / name)
    run(lab_server, "below.py", "PICTURE", "--svg", tmp_path / "chunks.svg")
    assert (tmp_path / "chunks.svg").read_text("utf-8") == (LAB / "pictures" / "chunks.svg").read_text("utf-8")


def load(name: str) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, LAB / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_the_lab_says_of_nats_py_is_true(lab_server: LabServer) -> None:
    """The table "nats-py, and the way around": a version that does better makes this fail, and the table shorter."""
    lab_server.start()
    archive = load("archive")

    async def check() -> None:
        nc = await nats.connect(lab_server.url)
        js = nc.jetstream()
        store = await js.create_object_store("PAINS")
        with pytest.raises(nats.js.errors.NotFoundError):
            await store.list()
        info = await store.put("object", b"x" * 300_000)
        # What nats-py has put our download reads, and the other way round.
        read = b"".join([chunk async for chunk in archive.download(js, "PAINS", "object")])
        assert read == b"x" * 300_000
        link = nats.js.api.ObjectMetaOptions(link=nats.js.api.ObjectLink(bucket="PAINS", name="object"))
        await archive.put_info(js, nats.js.api.ObjectInfo(name="link", bucket="PAINS", nuid="none", options=link))
        target = io.BytesIO()
        result = await store.get("link", writeinto=target)
        assert (len(target.getvalue()), len(result.data or b"")) == (0, 300_000)
        # Without its chunks `get` waits for ever; ours says so.
        await js.purge_stream("OBJ_PAINS", subject=f"$O.PAINS.C.{info.nuid}")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(store.get("object"), 1)
        watcher = await store.watch()
        assert await watcher.updates()  # type: ignore[no-untyped-call]
        await watcher.stop()  # type: ignore[no-untyped-call]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_drain(watcher), 0.3)
        await nc.close()

    asyncio.run(check())


async def _drain(watcher: nats.js.object_store.ObjectStore.ObjectWatcher) -> None:
    async for _ in watcher:
        pass


def test_a_chunk_that_is_missing_is_an_error(lab_server: LabServer) -> None:
    """Not a wait for ever, and not a short file."""
    lab_server.start()
    archive = load("archive")

    async def check() -> None:
        nc = await nats.connect(lab_server.url)
        js = nc.jetstream()
        store = await js.create_object_store("MISSING")
        info = await store.put("object", b"x" * 300_000)
        await js.purge_stream("OBJ_MISSING", subject=f"$O.MISSING.C.{info.nuid}", keep=1)
        with pytest.raises(archive.BrokenObjectError, match="37856 bytes instead of 300000"):
            _ = [chunk async for chunk in archive.download(js, "MISSING", "object")]
        await nc.close()

    asyncio.run(check())


def test_a_delete_gives_the_disk_back(lab_server: LabServer) -> None:
    """What the text says of the disk: files of the store shrink within seconds."""
    lab_server.start()
    if lab_server.store_dir is None or lab_server.kind == "docker":
        pytest.skip("the store is inside a container")
    folder = Path(lab_server.store_dir)

    async def check() -> None:
        nc = await nats.connect(lab_server.url)
        js = nc.jetstream()
        store = await js.create_object_store("DISK")
        await store.put("large", os.urandom(40 << 20))
        full = _bytes(folder)
        assert full > 40 << 20
        await store.delete("large")
        deadline = time.monotonic() + 30
        while _bytes(folder) > full - (20 << 20):
            assert time.monotonic() < deadline, (full, _bytes(folder))
            await asyncio.sleep(0.1)
        await nc.close()

    asyncio.run(check())


def _bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            status = path.stat()
        except OSError:  # removed meanwhile
            continue
        total += min(status.st_size, status.st_blocks * 512)
    return total


@pytest.fixture
def share(lab_server: LabServer, tmp_path: Path) -> Iterator[str]:
    """The file service; its address."""
    lab_server.start()
    process = subprocess.Popen(
        [sys.executable, "-u", LAB / "share.py", "--url", lab_server.url, "--address", tmp_path / "address"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        yield process.stdout.readline().split()[-1]
        process.terminate()


def test_the_file_service_says_what_is_wrong(share: str) -> None:
    """A name that is not there, and one that is strange."""
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{share}files/nothing")
    strange = "%3Cimg%20src%3Dx%3E%20%C3%A4%22.txt"
    put = urllib.request.Request(f"{share}files/{strange}", b"content", method="PUT")
    with urllib.request.urlopen(put) as answer:
        assert json.load(answer)["name"] == '<img src=x> ä".txt'
    with urllib.request.urlopen(f"{share}files/{strange}") as answer:
        assert answer.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{strange}"
        assert answer.read() == b"content"


def test_the_file_service_never_passes_a_damaged_file_as_whole(share: str, lab_server: LabServer) -> None:
    """The last chunk is held back until the digest is right."""
    body = os.urandom(300_000)
    put = urllib.request.Request(f"{share}files/damaged", body, method="PUT")
    urllib.request.urlopen(put).close()

    async def damage() -> None:
        nc = await nats.connect(lab_server.url)
        js = nc.jetstream()
        info = await (await js.object_store("FILES")).get_info("damaged")
        subject = f"$O.FILES.C.{info.nuid}"
        await js.purge_stream("OBJ_FILES", subject=subject)
        await js.publish(subject, body[:150_000])
        await js.publish(subject, b"!" + body[150_001:])
        await nc.close()

    asyncio.run(damage())
    with urllib.request.urlopen(f"{share}files/damaged") as answer, pytest.raises(http.client.IncompleteRead):
        answer.read()


def test_an_upload_that_breaks_off_leaves_nothing(share: str, lab_server: LabServer) -> None:
    """Neither an object nor chunks."""
    host, port = share.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"PUT /files/half HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 600_000)

    async def check() -> None:
        nc = await nats.connect(lab_server.url)
        js = nc.jetstream()
        deadline = time.monotonic() + 60
        while True:
            listing = await asyncio.to_thread(urllib.request.urlopen, f"{share}files")
            names = {info["name"] for info in json.load(listing)}
            chunks = (await js.stream_info("OBJ_FILES", subjects_filter="$O.FILES.C.>")).state.subjects or {}
            if "half" not in names and len(chunks) == len(names):
                break
            assert time.monotonic() < deadline, (names, chunks)
            await asyncio.sleep(0.05)
        await nc.close()

    asyncio.run(check())


DROP = """
(async () => {
  const wait = async test => { while (!test()) await new Promise(done => setTimeout(done, 20)); };
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(6 << 20).fill(7)], "film.bin"));
  data.items.add(new File(["<b>hello</b>"], "<img src=x onerror=alert(1)>.txt"));
  let seen = 0;
  const watch = new MutationObserver(() => {
    for (const bar of document.querySelectorAll("progress")) seen = Math.max(seen, bar.value);
  });
  watch.observe(document.getElementById("uploads"), {subtree: true, childList: true, attributes: true});
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
  await wait(() => document.querySelectorAll("#files tr").length === 2 && !document.querySelector("progress"));
  return {seen, rows: [...document.querySelectorAll("#files a")].map(a => a.textContent),
          images: document.images.length};
})()
"""

DELETE = """
(async () => {
  document.querySelector("#files button").click();
  while (document.querySelectorAll("#files tr").length !== 1) await new Promise(done => setTimeout(done, 20));
  return document.querySelector("#files a").textContent;
})()
"""


def test_the_web_page_in_a_browser(share: str, tmp_path: Path) -> None:
    """Files are dropped, the bar moves, the list shows them, and one is deleted."""
    browser = load("browser")
    if browser.program() is None:
        pytest.skip("there is no Chromium: the web page was not looked at")
    with browser.browser(tmp_path / "profile") as page:
        for info in json.load(urllib.request.urlopen(f"{share}files")):
            gone = urllib.request.Request(f"{share}files/{urllib.parse.quote(info['name'])}", method="DELETE")
            urllib.request.urlopen(gone).close()
        page.open(share)
        result = page.run(DROP)
        if picture := os.environ.get("LAB06_SCREENSHOT"):
            page.screenshot(Path(picture))
        assert result["rows"] == ["<img src=x onerror=alert(1)>.txt", "film.bin"]
        assert result["images"] == 0  # the name is text, and no HTML
        assert result["seen"] > 0
        assert page.run(DELETE) == "film.bin"
        with urllib.request.urlopen(f"{share}files/film.bin") as answer:
            assert answer.read() == b"\7" * (6 << 20)
