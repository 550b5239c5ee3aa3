"""The pictures in the documentation show what one sees."""

import pytest

from scripts.studio_pictures import PICTURES, path_of, take


@pytest.mark.parametrize("name", PICTURES)
async def test_the_picture_is_fresh(name: str) -> None:
    assert path_of(name).read_text(encoding="utf-8") == await take(PICTURES[name]), "run 'make pictures'"
