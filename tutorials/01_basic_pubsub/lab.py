"""What all scripts of this lab share: the server's address, and a `connect` that says what is wrong."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # labkit lies beside the labs

from labkit.client import URL, advice, connect

__all__ = ["URL", "advice", "connect"]
