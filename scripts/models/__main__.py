"""The command behind scripts/fetch_models."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from scripts.models import catalogue
from scripts.models.catalogue import KINDS, Catalogue, Model
from scripts.models.download import Downloader, Patience
from scripts.models.errors import ChecksumError, Declined, ModelError, UnknownModel
from scripts.models.fetch import fetch, pins
from scripts.models.screen import Screen, describe, plain, table
from scripts.models.store import State, Store

ROOT = Path(__file__).resolve().parents[2]

_EPILOG = """\
examples:
  scripts/fetch_models                           what there is, and what is here
  scripts/fetch_models stt whisper:base.en       fetch it: shows size and licence, and asks
  scripts/fetch_models tts piper:en_US-lessac-medium --yes
  python -m local_ai_server --stt whisper:base.en --tts piper:en_US-lessac-medium

Broken off, by the network or by Ctrl-C? The same command goes on from there.

Checksums: a file must have the SHA-256 that --sha256 gives, or else the catalogue's, or else the one it had when it
was first fetched. A file that nobody had recorded is trusted that first time: the checksum is printed, kept in
models/CHECKSUMS, and holds from then on. What does not match is never installed; it is kept as .bad.

No network here? Fetch on another machine and copy its models folder, CHECKSUMS included; then: verify.

environment:
  LOCAL_AI_MODELS            the models folder, as --models
  HTTPS_PROXY, NO_PROXY      as everywhere; SSL_CERT_FILE for a proxy's own certificate

exit status:
  0  done                        4  a checksum does not match, or a file has changed
  1  something else              5  the disk: no room, no right, another fetch_models at work
  2  no such model or option     6  an archive that was refused
  3  the network or the host     7  nobody said yes (without a terminal, give --yes)
"""
_EXTRAS = {"vosk", "whisper", "sherpa", "llama", "piper", "kokoro"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is in the help."""
    options = _parser().parse_args(arguments)
    console = Console()
    try:
        return _run(options, console)
    except ModelError as error:
        print(f"fetch_models: {error}", file=sys.stderr)
        if error.advice:
            print(f"  {error.advice}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"fetch_models: {error}", file=sys.stderr)
        return 5
    except KeyboardInterrupt:
        print("\nfetch_models: stopped; the same command goes on from there", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument("--models", type=Path, metavar="DIR", help="the models folder (models/, or LOCAL_AI_MODELS)")
    shared.add_argument(
        "--catalogue", type=Path, metavar="FILE", help="another catalogue than the one that comes along"
    )
    parser = argparse.ArgumentParser(
        prog="scripts/fetch_models",
        description="Models for local_ai_server: list, fetch, verify, remove.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[shared],
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    listing = commands.add_parser(
        "list", parents=[shared], help="what there is, and what is here (as without a command)"
    )
    listing.add_argument("--json", action="store_true", help="for programs")
    for kind in KINDS:
        one = commands.add_parser(kind, parents=[shared], help=f"fetch a model: {kind} NAME")
        one.add_argument("name", metavar="NAME", help="as list shows it")
        one.add_argument("--yes", action="store_true", help="do not ask")
        one.add_argument("--again", action="store_true", help="even if it is here")
        one.add_argument(
            "--sha256",
            action="append",
            default=[],
            metavar="HEX",
            help="what it must be, as its publisher says; FILE=HEX for a model of several files, repeatable",
        )
        one.add_argument("--base-url", default="", metavar="URL", help="a mirror with the same paths as the hosts")
        one.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="without a byte (30)")
        one.add_argument("--tries", type=int, default=4, metavar="N", help="in a row that bring next to nothing (4)")
    verify = commands.add_parser("verify", parents=[shared], help="read all that is here and compare it with CHECKSUMS")
    remove = commands.add_parser("remove", parents=[shared], help="delete a model, or what has begun to arrive")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    for command, needed in ((verify, "?"), (remove, None)):
        command.add_argument("kind", choices=KINDS, nargs=needed, metavar="KIND", help=", ".join(KINDS))
        command.add_argument("name", nargs=needed, metavar="NAME", help="as list shows it")
    return parser


def _run(options: argparse.Namespace, console: Console) -> int:
    base_url = getattr(options, "base_url", "")
    if base_url and urlsplit(base_url).scheme not in ("http", "https"):
        raise UnknownModel(f"--base-url {base_url}: no http(s) address")
    known = catalogue.read(getattr(options, "catalogue", catalogue.OWN), base_url)
    store = Store(getattr(options, "models", None) or Path(os.environ.get("LOCAL_AI_MODELS") or ROOT / "models"))
    screen = Screen(console)
    match options.command:
        case "verify":
            _verify(options, known, store, screen)
        case "remove":
            _remove(known.find(options.kind, options.name), options, store, screen)
        case "stt" | "llm" | "tts" | "turn" as kind:
            _fetch(known.find(kind, options.name), options, store, screen)
        case _ if getattr(options, "json", False):
            print(json.dumps([plain(model, store) for model in known], indent=2))
        case _:
            console.print(table(list(known), store))
            screen.say(f"in {store.models}; to fetch one: scripts/fetch_models KIND NAME")
    return 0


def _fetch(model: Model, options: argparse.Namespace, store: Store, screen: Screen) -> None:
    pinned = pins(model, options.sha256)
    if store.state(model) is State.HERE and not options.again:
        screen.say(f"{model.title} is here already; to fetch it anew: --again")
        return
    screen.say(describe(model))
    _agree("Fetch it?", options.yes)
    downloader = Downloader(Patience(stall_seconds=options.timeout, tries=options.tries))
    try:
        with store.alone():
            fetch(model, store, downloader, pinned, screen)
    finally:
        downloader.close()
    screen.say(f"{model.title} is in {', '.join(str(store.models / place) for place in model.places)}")
    backend = model.name.partition(":")[0]
    if backend in _EXTRAS:
        screen.say(f"to use it: pip install 'offhook[{backend}]', once; then")
        screen.say(f"           python -m local_ai_server --{model.kind} {model.name}")


def _verify(options: argparse.Namespace, known: Catalogue, store: Store, screen: Screen) -> None:
    if options.kind and not options.name:
        raise UnknownModel("verify takes a KIND and a NAME, or neither")
    chosen = [known.find(options.kind, options.name)] if options.kind else list(known)
    damaged: list[str] = []
    for model in chosen:
        recorded = store.checksums.of(model.places)
        if not recorded and store.state(model) is not State.HERE:
            if options.kind:
                screen.say(f"{model.title}: {store.state(model)}")
            continue
        wrong = store.damage(model)
        verdict = "; ".join(wrong) or (f"good, {len(recorded)} files" if recorded else "here, without a checksum")
        screen.say(f"{model.title}: {verdict}")
        if wrong:
            damaged.append(model.title)
    if damaged:
        raise ChecksumError(f"damaged: {', '.join(damaged)}", "To mend it: scripts/fetch_models KIND NAME --again")


def _remove(model: Model, options: argparse.Namespace, store: Store, screen: Screen) -> None:
    if store.state(model) is State.ABSENT and not store.checksums.of(model.places):
        screen.say(f"{model.title} is not here")
        return
    _agree(f"Delete {', '.join(str(store.models / place) for place in model.places)}?", options.yes)
    with store.alone():
        store.remove(model)
    screen.say(f"{model.title} is gone")


def _agree(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Declined("nobody can be asked without a terminal", "If you agree, give --yes.")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise Declined("nothing was done")


if __name__ == "__main__":
    sys.exit(main())
