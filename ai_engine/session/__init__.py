"""One call, alive: the hall in which ports meet rules."""
