"""How a server that is not Asterisk is reached."""
