"""Sound in and out of Asterisk: the doors through which media connections come."""
