"""Offhook's own speech and dialog server: it meets the engine only on the wire (docs/local_ai_protocol.md)."""
