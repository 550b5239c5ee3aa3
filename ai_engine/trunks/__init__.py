"""Telephone numbers that are ours, and the SIP trunks they come over: kept encrypted, and made known to Asterisk."""
