"""What the engine tells, and lets do, whoever looks after its numbers, agents and calls: values and ports."""
