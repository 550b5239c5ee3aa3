"""The models that have a name here."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urljoin, urlsplit, urlunsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from scripts.models.errors import UnknownModel

OWN = Path(__file__).with_name("catalogue.yaml")

Kind = Literal["stt", "llm", "tts", "turn"]
KINDS: tuple[Kind, ...] = ("stt", "llm", "tts", "turn")


def _inside(path: str) -> str:
    # It becomes a path below the models folder, and a word in CHECKSUMS.
    if not re.fullmatch(r"[\w.+-]+(/[\w.+-]+)+", path, re.ASCII) or any(
        not part.strip(".") for part in path.split("/")
    ):
        raise ValueError(f"{path!r} is no plain path of the form kind/name")
    return path


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Source(_Strict):
    """One file on a host."""

    url: str
    to: Annotated[str, AfterValidator(_inside)]
    """Where it goes, below the models folder; the folder to make, if it is an archive."""
    bytes: int | None = Field(default=None, gt=0)
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    unpack: Literal["zip", "tar"] | None = None

    @property
    def file_name(self) -> str:
        """Its name on the host."""
        return urlsplit(self.url).path.rpartition("/")[2]


class Model(_Strict):
    """A model: one file, or several that belong together."""

    kind: Kind
    name: str = Field(pattern=r"^[\w.+-]+(:[\w.+-]+)?$")
    about: str
    licence: str
    """SPDX identifier, or the licence's own name."""
    licence_url: str
    tried: bool = False
    """Whether anybody of this project ever fetched it from these addresses."""
    base: str = ""
    """What the addresses of the files are relative to."""
    files: Annotated[tuple[Source, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _files_are_of_the_kind(self) -> "Model":
        for source in self.files:
            if not source.to.startswith(f"{self.kind}/"):
                raise ValueError(f"{source.to} is not below {self.kind}/")
            if urlsplit(self.address(source)).scheme not in ("http", "https"):
                raise ValueError(f"{self.address(source)!r} is no http(s) address")
            others = [other.to for other in self.files if other is not source]
            if any(f"{to}/".startswith(f"{source.to}/") for to in others):
                raise ValueError(f"two files go to {source.to}")
        return self

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def bytes(self) -> int | None:
        """Of all files; None where a size is not known."""
        sizes = [source.bytes for source in self.files]
        return None if None in sizes else sum(size for size in sizes if size)

    @property
    def known_bytes(self) -> int:
        """Of the files whose size is known."""
        return sum(source.bytes or 0 for source in self.files)

    @property
    def places(self) -> tuple[str, ...]:
        """The entries of the kind's folder that are this model's, as kind/entry."""
        return tuple(dict.fromkeys("/".join(source.to.split("/")[:2]) for source in self.files))

    def address(self, source: Source) -> str:
        return urljoin(self.base, source.url)


class Catalogue:
    """Models by kind and name; no two in the same place."""

    def __init__(self, models: tuple[Model, ...]) -> None:
        self._models = {(model.kind, model.name): model for model in models}
        taken: dict[str, Model] = {}
        for model in models:
            for place in model.places:
                if taken.setdefault(place, model) is not model:
                    raise ValueError(f"{model.title} and {taken[place].title} both go to {place}")
        if len(self._models) < len(models):
            raise ValueError("a model is listed twice")

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def find(self, kind: str, name: str) -> Model:
        """Raises UnknownModel, which names those that there are."""
        for model in self:
            if (model.kind, model.name) == (kind, name):
                return model
        known = ", ".join(model.name for model in self if model.kind == kind) or "none"
        raise UnknownModel(f"the catalogue has no {kind} model {name!r}", f"It has: {known}")


def read(path: Path = OWN, base_url: str = "") -> Catalogue:
    """The catalogue at ``path``; with ``base_url`` its files come from there, under the path they have on their hosts.

    Raises UnknownModel with the place of what is wrong with it.
    """
    try:
        entries = yaml.safe_load(path.read_text())
        models = tuple(Model.model_validate(entry) for entry in entries["models"])
        return Catalogue(tuple(_from_mirror(model, base_url) for model in models) if base_url else models)
    except (OSError, yaml.YAMLError, ValidationError, ValueError, KeyError, TypeError) as error:
        raise UnknownModel(f"{path} is not a catalogue: {error}", f"Its form: {OWN}") from error


def _from_mirror(model: Model, base_url: str) -> Model:
    mirror = urlsplit(base_url.rstrip("/"))

    def moved(source: Source) -> Source:
        own = urlsplit(model.address(source))
        return source.model_copy(
            update={"url": urlunsplit((mirror.scheme, mirror.netloc, mirror.path + own.path, own.query, ""))}
        )

    return model.model_copy(update={"base": "", "files": tuple(moved(source) for source in model.files)})
