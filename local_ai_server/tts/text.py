"""Text no C library trips over."""


def harmless(text: str) -> str:
    """``text`` without what ends a C string, or is no UTF-8."""
    return text.replace("\0", " ").encode("utf-8", "ignore").decode("utf-8")
