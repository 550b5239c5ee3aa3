"""Words, between how they are written and how people say them."""
