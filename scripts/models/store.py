"""The models folder: what is here, what has begun, what goes."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from scripts.models.catalogue import Model, Source
from scripts.models.checksums import Checksums, sha256_of
from scripts.models.errors import DiskError


class State(StrEnum):
    HERE = "here"
    BEGUN = "begun"
    """Some of it has arrived; the same command goes on from there."""
    ABSENT = "not here"


class Store:
    """``models``, where backends look, and below it ``.incoming``, where a model is until it is whole."""

    def __init__(self, models: Path) -> None:
        self.models = models
        self.checksums = Checksums(models)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Make the folder if need be, and change it, and nobody else. Raises DiskError."""
        try:
            self.models.mkdir(parents=True, exist_ok=True)
            lock = (self.models / ".lock").open("w")
        except OSError as error:
            raise DiskError(
                f"cannot write to {self.models}: {error.strerror}", "Choose another: --models DIR."
            ) from error
        with lock:
            try:
                # The kernel lets go of it even when this process is killed.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DiskError(
                    f"another fetch_models is at work in {self.models}", "Wait until it is done."
                ) from error
            self.checksums = Checksums(self.models)
            yield

    def state(self, model: Model) -> State:
        if all((self.models / place).exists() for place in model.places):
            return State.HERE
        return State.BEGUN if self.incoming(model).exists() else State.ABSENT

    def incoming(self, model: Model) -> Path:
        return self.models / ".incoming" / f"{model.kind}-{model.name.replace(':', '-')}"

    def whole(self, model: Model, source: Source) -> Path:
        """Where a source lies once it has arrived and was found right, before the model is installed."""
        tree = self.incoming(model) / "tree"
        return self.incoming(model) / source.file_name if source.unpack else tree / source.to

    def tree(self, model: Model) -> Path:
        """What becomes the model, laid out as in the models folder."""
        return self.incoming(model) / "tree"

    def install(self, model: Model) -> None:
        """The tree is whole: put it in its places, and record its files."""
        tree, old = self.tree(model), self.incoming(model) / "old"
        shutil.rmtree(old, ignore_errors=True)
        files = {
            path.relative_to(tree).as_posix(): sha256_of(path) for path in sorted(tree.rglob("*")) if path.is_file()
        }
        # Where a model is more than one entry, the one listed first is what makes it look complete: it goes last.
        for place in reversed(model.places):
            target = self.models / place
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                (old / place).parent.mkdir(parents=True, exist_ok=True)
                target.rename(old / place)
            (tree / place).rename(target)
        self.checksums.replace(model.places, files)
        shutil.rmtree(self.incoming(model))

    def remove(self, model: Model) -> None:
        """It, and whatever of it had arrived; what its sources were is remembered."""
        for path in (*(self.models / place for place in model.places), self.incoming(model)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.checksums.replace(model.places, {})

    def damage(self, model: Model) -> list[str]:
        """What is wrong with the files of a model that is here, one phrase each; none if they are as they came."""
        wrong: list[str] = []
        for name, digest in self.checksums.of(model.places).items():
            path = self.models / name
            if not path.is_file():
                wrong.append(f"{name} is missing")
            elif sha256_of(path) != digest:
                wrong.append(f"{name} has changed")
        return wrong
