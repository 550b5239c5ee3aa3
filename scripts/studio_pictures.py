"""Takes the pictures of the terminal studio in docs/images; ``--check`` says whether they are fresh."""

import argparse
import asyncio
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.studio.tui.fakes.scene import scene
from tests.studio.tui.fakes.stage import staged

IMAGES = Path(__file__).parents[1] / "docs" / "images"
NARROW, WIDE = (80, 24), (120, 40)


@dataclass(frozen=True, slots=True)
class Picture:
    """What to press, and what is then to be seen."""

    keys: Sequence[str]
    shows: str
    size: tuple[int, int] = NARROW


PICTURES: Mapping[str, Picture] = {
    "calls": Picture([], "reception"),
    "call": Picture(["enter"], "first frame"),
    "call-wide": Picture(["enter"], "first frame", WIDE),
    "numbers": Picture(["2", "down"], "offline: sip.backup.example"),
    "agents": Picture(["3"], "web_session"),
    "log": Picture(["4"], "6 lines"),
    "health": Picture(["5"], "P50"),
    "call-somebody": Picture(["c"], "Have an agent call somebody"),
    "import": Picture(["2", "i"], "calls at a time"),
    "help": Picture(["question_mark"], "ask the engine now"),
}


async def take(picture: Picture) -> str:
    """As SVG, the same each time."""
    office = scene()
    async with staged(office, *picture.size) as stage:
        await stage.shows("reception +49")
        await stage.until(lambda: office.engine.watched)
        office.talk()
        await stage.shows("▅▄▄█▄▅")
        await stage.press(*picture.keys)
        await stage.shows(picture.shows)
        return _plain(stage.picture())


def _plain(svg: str) -> str:
    """Without fonts from elsewhere, and without ids that change with everything."""
    svg = re.sub(r"@font-face\s*{[^}]*}\s*", "", svg)
    svg = re.sub(r"terminal-\d+", "studio", svg)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def path_of(name: str) -> Path:
    return IMAGES / f"studio-{name}.svg"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when one is stale, write nothing")
    check = parser.parse_args().check
    stale = 0
    for name, picture in PICTURES.items():
        path, svg = path_of(name), asyncio.run(take(picture))
        if path.exists() and path.read_text(encoding="utf-8") == svg:
            continue
        if check:
            print(f"{path} is stale: run 'make pictures'", file=sys.stderr)
            stale = 1
        else:
            path.write_text(svg, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main())
