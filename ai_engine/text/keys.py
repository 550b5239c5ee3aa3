"""Keys the caller pressed, as a model is told of them."""


def pressed(keys: str) -> str:
    """``keys`` of ``0-9*#A-D``."""
    return f"[the caller pressed {keys}]"
