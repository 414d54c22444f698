"""A service of the shop that takes its settings from the bucket CONFIG, and follows each change at once."""

import argparse
import asyncio
import contextlib
from collections.abc import Callable

from shop import CONFIG, arguments, follow, is_gone, text

Setting = tuple[Callable[[str], object], object]

# What each service can be told: how a setting is read, and what holds while the bucket says nothing.
SETTINGS: dict[str, dict[str, Setting]] = {
    "web": {"web.banner": (str, "Welcome"), "web.page-size": (int, 20)},
    "prices": {"prices.currency": (str, "EUR"), "prices.vat": (float, 19.0)},
    "mailer": {"mailer.sender": (str, "shop@example.com")},
}


def read(key: str, value: str, setting: Setting) -> object:
    """The value as the service needs it; raises ValueError where it does not fit."""
    parse, _ = setting
    try:
        return parse(value)
    except ValueError:
        raise ValueError(f"{key} = {value!r} is refused, it must be {parse.__name__}") from None


async def main(options: argparse.Namespace) -> None:
    """Begin with the defaults, and follow the bucket until Ctrl-C."""
    settings = SETTINGS[options.name]
    current = {key: default for key, (_, default) in settings.items()}
    async for entry in follow(options.url, CONFIG, f"{options.name}.>"):
        if entry is None:
            told = ", ".join(f"{key.partition('.')[2]} = {value}" for key, value in current.items())
            print(f"{options.name}: ready with {told}")
            continue
        setting = settings.get(entry.key)
        if setting is None:
            print(f"{options.name}: there is no setting {entry.key}")
            continue
        try:
            current[entry.key] = setting[1] if is_gone(entry) else read(entry.key, text(entry), setting)
        except ValueError as error:
            print(f"{options.name}: {error}; it stays {current[entry.key]}")
            continue
        print(f"{options.name}: {entry.key} is now {current[entry.key]}" + (" again" if is_gone(entry) else ""))


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("name", choices=SETTINGS, help="which service")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
