"""What an agent is told that the caller does not hear."""


def aside(text: str) -> str:
    """A note of an operator's, as a model should read it."""
    return (
        f"A colleague who supervises this call tells you, unheard by the caller: {text}\n"
        "Act on it from your next answer on, and do not mention the colleague."
    )
