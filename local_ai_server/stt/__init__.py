"""Speech to text: one file per backend."""
