"""How Asterisk is run: inside its root directory with private mounts, or straight from this machine."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from scripts.trial.instance import Trial
from scripts.trial.rootfs import CHECKOUT, ROOTFS, TrialError, as_root


def uses_host_binary() -> bool:
    """Whether OFFHOOK_ASTERISK asks for the Asterisk that is installed on this machine."""
    wish = os.environ.get("OFFHOOK_ASTERISK", "rootfs")
    if wish not in ("rootfs", "system"):
        raise TrialError(f"OFFHOOK_ASTERISK={wish}: only 'rootfs' and 'system' are known")
    return wish == "system"


def check_host_binary() -> None:
    """Raise TrialError unless the machine's own Asterisk will do."""
    binary = shutil.which("asterisk", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise TrialError("OFFHOOK_ASTERISK=system, but there is no asterisk on PATH: install it, or unset the variable")
    version = subprocess.run([binary, "-V"], capture_output=True, text=True, check=False).stdout
    major = re.search(r"Asterisk \D*(\d+)", version)
    if major is None or int(major.group(1)) < 18:
        raise TrialError(f"{binary} is {version.strip() or 'of unknown version'}: Asterisk 18 or later is needed")


def command(trial: Trial, ended: Path) -> list[str]:
    """What starts Asterisk in the background; the file ``ended`` appears when it is over, however it ended."""
    asterisk = ["asterisk", "-C", str(trial.etc / "asterisk.conf"), "-f", "-n"]
    detached = ["setsid", "--fork"]
    if uses_host_binary():
        return [*detached, "sh", "-c", f'{_TELL_THE_END}"$@"', "sh", str(ended), *asterisk]
    mounts = ["sh", "-c", f'{_TELL_THE_END}{_MOUNT}"$@"', "sh", str(ended), str(ROOTFS), str(CHECKOUT)]
    inside = ["chroot", f"--userspec={os.getuid()}:{os.getgid()}", str(ROOTFS), *asterisk]
    return as_root([*detached, "unshare", "--mount", "--propagation", "private", *mounts, *inside])


_TELL_THE_END = """
ended=$1; shift
trap 'echo "$?" > "$ended"' EXIT
"""

# The mounts live in a namespace of their own and vanish with Asterisk. The checkout and /tmp keep their paths,
# so that the run directory and sound files have the same names inside and outside.
_MOUNT = """
root=$1 checkout=$2; shift 2
mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount --bind /tmp "$root/tmp" || exit 1
mkdir -p "$root$checkout" && mount --bind "$checkout" "$root$checkout" || exit 1
"""
