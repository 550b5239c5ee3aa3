"""What a call is and what it decides: events in, actions out, no sockets and no clock."""
