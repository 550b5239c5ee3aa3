"""Calendars of others, as text."""


def ics(*events: str, head: str = "") -> str:
    """Of the lines of its events."""
    body = "".join(f"BEGIN:VEVENT\n{event.strip()}\nEND:VEVENT\n" for event in events)
    text = f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//Somebody//EN\n{head}{body}END:VCALENDAR\n"
    return text.replace("\n", "\r\n")


def dentist(day: str = "20261201", uid: str = "dentist") -> str:
    """At ten in Berlin, for an hour."""
    return f"UID:{uid}\nDTSTART;TZID=Europe/Berlin:{day}T100000\nDTEND;TZID=Europe/Berlin:{day}T110000\nSUMMARY:Dentist"
