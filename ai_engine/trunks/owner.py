"""Whose a file is that root writes into somebody else's folder."""

import os
import stat
from pathlib import Path


def give(handle: int, folder: Path) -> None:
    """The open file belongs to the owner of ``folder``, who is to use it, where we are root. Raises OSError."""
    if os.geteuid() != 0:
        return
    file, owner = os.fstat(handle), folder.stat()
    # Not one that has another name elsewhere: the owner of the folder could have had it given to them.
    if stat.S_ISREG(file.st_mode) and file.st_nlink <= 1 and file.st_uid != owner.st_uid:
        os.fchown(handle, owner.st_uid, owner.st_gid)
