#!/usr/bin/env python3
"""Record the verdicts of a real nats-server on the configuration files in `corpus/`.

Usage: record.py <nats-server>; writes `oracle.tsv` beside this file. Each line has the file, the verdict
(`valid`, or `refused` for errors as well as warnings), and the digest or the texts (joined by `|`).
"""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def judge(server: str, path: Path) -> tuple[str, str]:
    """Return the verdict on one file, with its digest or its error texts."""
    command = [server, "-t", "-c", path.name]
    run = subprocess.run(command, cwd=path.parent, capture_output=True, check=False)  # noqa: S603
    said = run.stderr.decode(errors="replace").removeprefix("nats-server: ").strip()
    if run.returncode == 0 and (valid := re.search(r"is valid \((sha256:[0-9a-f]{64})\)$", said)):
        return "valid", valid[1]
    # nats-server's maps have no order, so the order of its errors varies.
    return "refused", "|".join(sorted(line.replace("\0", "") for line in said.splitlines() if line))


def main() -> None:
    """Record the verdicts on all files in the table."""
    server = sys.argv[1]
    rows = []
    for path in sorted((HERE / "corpus").glob("*.conf")):
        verdict, detail = judge(server, path)
        rows.append(f"{path.name}\t{verdict}\t{detail}\n")
    (HERE / "oracle.tsv").write_text("".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
