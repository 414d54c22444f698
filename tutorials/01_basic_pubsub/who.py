"""List the server's connections, as its monitoring port tells them."""

import argparse
import json
from urllib.request import urlopen


def main() -> None:
    """Ask /connz, and print a line for each connection."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--monitor", metavar="URL", default="http://127.0.0.1:8222")
    arguments = parser.parse_args()
    try:
        with urlopen(f"{arguments.monitor}/connz?subs=1", timeout=10) as answer:
            connections = json.load(answer)["connections"]
    except OSError as problem:
        raise SystemExit(f"no monitoring at {arguments.monitor} ({problem}): start the server with `-m 8222`") from None
    for connection in connections:
        subjects = ", ".join(connection.get("subscriptions_list", [])) or "nothing"
        print(f"{connection['name']} ({connection['lang']}) listens on {subjects}")


if __name__ == "__main__":
    main()
