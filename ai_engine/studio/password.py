"""Takes a password from where nobody looks over one's shoulder."""

import getpass
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from ai_engine.studio.errors import USAGE, Stop
from ai_engine.studio.output import remark

VARIABLE = "STUDIO_SIP_PASSWORD"

_WAYS = f"--sip-password-file FILE, --sip-password - (standard input), or {VARIABLE} in the environment"
_OTHERS = 0o077


def sip_password(option: str | None, file: Path | None, given: Mapping[str, str], username: str) -> SecretStr:
    """From the options, the environment, or whoever sits there. Raises Stop where there is none."""
    if option is not None and file is not None:
        raise Stop(USAGE, "--sip-password and --sip-password-file: one of the two is enough")
    return SecretStr(_read(option, file, given, username))


def _read(option: str | None, file: Path | None, given: Mapping[str, str], username: str) -> str:
    if option == "-":
        return _needed(sys.stdin.readline().rstrip("\r\n"), "standard input was empty")
    if option is not None:
        remark(f"the list of processes shows a password that is an option; better: {_WAYS}")
        return option
    if file is not None:
        return _needed(_of_file(file), f"{file} is empty")
    if VARIABLE in given:
        return given[VARIABLE]
    if not sys.stdin.isatty():
        raise Stop(USAGE, f"the password of {username!r} is needed: {_WAYS}")
    return _needed(getpass.getpass(f"SIP password of {username}: "), "nothing was typed")


def _of_file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.readline().rstrip("\r\n")
        mode = path.stat().st_mode & 0o777
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(USAGE, f"the password file cannot be read: {error}") from error
    if path.is_file() and mode & _OTHERS:
        remark(
            f"{path}: others may read it (mode {mode:o}); `chmod 600 {path}`, or delete it: it is not needed any more"
        )
    return text


def _needed(text: str, otherwise: str) -> str:
    if not text:
        raise Stop(USAGE, f"no password: {otherwise}")
    return text
