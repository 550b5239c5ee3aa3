"""The voice engine: it answers a call that Asterisk hands over, listens, and speaks."""
