"""Command of Asterisk through its REST Interface: requests, events, and one caller's channel."""
