"""The telephone networks that outbound calls go over."""
