"""The calendar bridge: free slots, holds and appointments, in a store of its own or read from calendars elsewhere."""
