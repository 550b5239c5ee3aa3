"""Text to speech: one file per backend."""
