"""Outbound calls carried through: dialled, dialled again, booked, told of; nothing is lost or done twice by a crash."""
