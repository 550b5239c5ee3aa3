"""Outbound calls as values: what is asked for, how far it has come, and when to dial."""
