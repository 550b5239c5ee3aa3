"""Which engine this is."""

from importlib.metadata import PackageNotFoundError, version


def engine_version() -> str:
    """Of the installed package, or of the checkout."""
    try:
        return version("offhook")
    except PackageNotFoundError:
        return "0.1.0"
