"""The trial Asterisk, the phone and the wire: what the demo and the tests share."""
