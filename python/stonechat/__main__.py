"""`python -m stonechat` is the `stonechat` command."""

from .cli import main

if __name__ == "__main__":
    main()
