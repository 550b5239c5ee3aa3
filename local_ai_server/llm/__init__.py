"""What the agent answers: one file per backend."""
