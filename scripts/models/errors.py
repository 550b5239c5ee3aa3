"""What can go wrong with a model, each with an exit status of its own.

ModelError            1
├── UnknownModel      2   not in the catalogue; a catalogue or an option that makes no sense
├── HostError         3   the host cannot be reached, refuses, or has no such file
├── ChecksumError     4   what came, or what lies here, is not what it should be
├── DiskError         5   no room, or no right to write
├── ArchiveRefused    6   an archive that tries to leave its folder, or to fill the disk
└── Declined          7   nobody said yes
"""


class ModelError(Exception):
    """A sentence about what failed, and one about what to do next."""

    status = 1

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.advice = advice


class UnknownModel(ModelError):
    status = 2


class HostError(ModelError):
    status = 3


class ChecksumError(ModelError):
    status = 4


class DiskError(ModelError):
    status = 5


class ArchiveRefused(ModelError):
    status = 6


class Declined(ModelError):
    status = 7
