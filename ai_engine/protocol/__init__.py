"""Bytes and text on the wire, turned into meaning and back: no sockets, no clock."""
