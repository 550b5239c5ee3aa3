"""Sound as numbers: no sockets, no clock."""
