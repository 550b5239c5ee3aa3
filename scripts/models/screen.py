"""What the person at the terminal sees."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from scripts.models.catalogue import Model, Source
from scripts.models.download import Watch
from scripts.models.store import State, Store

_LINE_BYTES = 50 << 20
_LINE_SECONDS = 5.0


class Screen:
    """Plain lines, and on a terminal a bar for each file."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None

    def say(self, line: str) -> None:
        # Names and digests are not for rich to colour, nor its line width for them.
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def begin(self, source: Source) -> Watch:
        if not self._console.is_terminal:
            return self._lines(source)
        progress = self._progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        progress.start()
        task = progress.add_task(source.file_name, total=source.bytes)

        def watch(here: int, total: int | None) -> None:
            progress.update(task, completed=here, total=total)

        return watch

    def end(self) -> None:
        if self._progress:
            self._progress.stop()
            self._progress = None

    def _lines(self, source: Source) -> Watch:
        self.say(f"  {source.file_name}: fetching")
        said_at, said = time.monotonic(), 0

        def watch(here: int, total: int | None) -> None:
            nonlocal said_at, said
            if time.monotonic() - said_at >= _LINE_SECONDS or here - said >= _LINE_BYTES:
                said_at, said = time.monotonic(), here
                self.say(f"  {source.file_name}: {size(here)} of {size(total)}")

        return watch


def size(count: int | None) -> str:
    """Bytes as people read them; a question mark where nobody knows."""
    if count is None:
        return "?"
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1_000_000:.0f} MB" if count < 1_000_000_000 else f"{count / 1_000_000_000:.2f} GB"


def size_of(model: Model) -> str:
    """Of all its files; of those known where not all are."""
    if model.bytes is not None or not model.known_bytes:
        return size(model.bytes)
    return f"{size(model.known_bytes)} +"


def table(models: Sequence[Model], store: Store) -> Table:
    """What there is, and what is here."""
    found = Table(box=SIMPLE)
    for title in ("kind", "name"):
        found.add_column(title, no_wrap=True)
    found.add_column("size", justify="right", no_wrap=True)
    found.add_column("licence", overflow="fold")
    found.add_column("", no_wrap=True)
    for model in models:
        state = store.state(model)
        style = "green" if state is State.HERE else None
        found.add_row(model.kind, model.name, size_of(model), model.licence, str(state), style=style)
    return found


def plain(model: Model, store: Store) -> dict[str, Any]:
    """Ready for JSON."""
    return {
        "kind": model.kind,
        "name": model.name,
        "about": model.about,
        "state": str(store.state(model)),
        "bytes": model.bytes,
        "licence": model.licence,
        "licence_url": model.licence_url,
        "tried": model.tried,
        "places": [str(Path(store.models, place)) for place in model.places],
        "files": [
            {
                "url": model.address(source),
                "to": source.to,
                "bytes": source.bytes,
                "sha256": source.sha256 or store.checksums.fetched.get(source.to),
            }
            for source in model.files
        ],
    }


def describe(model: Model) -> str:
    """What is about to be fetched, before anybody agrees to it."""
    lines = [
        f"{model.title}: {model.about}",
        f"  size     {size_of(model)}",
        f"  licence  {model.licence}, {model.licence_url}",
        *(f"  from     {model.address(source)}" for source in model.files),
    ]
    unknown = [source.file_name for source in model.files if not source.sha256]
    if unknown:
        lines.append(f"  no checksum known of {', '.join(unknown)}")
    if not model.tried:
        lines.append("  Nobody of this project has fetched it from there yet.")
    return "\n".join(lines)
