"""Take web_page.png: the web page of `share.py` in a headless Chromium, in the middle of an upload.

``python pictures/web_page.py [NATS_URL]`` needs a server with an empty bucket FILES, and Chromium.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

LAB = Path(__file__).parents[1]

DROP = """
(async () => {
  const wait = async test => { while (!test()) await new Promise(done => setTimeout(done, 5)); };
  const drop = (name, size) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(size)], name));
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
  };
  drop("report-v3.pdf", 1300000);
  drop("photo.jpg", 4200000);
  await wait(() => document.querySelectorAll("#files tr").length === 2);
  drop("film.mp4", 200 << 20);
  await wait(() => [...document.querySelectorAll("progress")].some(bar => bar.value > bar.max / 4));
})()
"""


def main(url: str) -> None:
    """Start the service, drop files, take the picture."""
    sys.path.append(str(LAB))
    from browser import browser

    command = [sys.executable, "-u", str(LAB / "share.py"), "--url", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        address = service.stdout.readline().split()[-1]
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, browser(Path(profile)) as page:
            page.open(address)
            page.run(DROP)
            page.screenshot(Path(__file__).with_suffix(".png"))
        service.terminate()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
