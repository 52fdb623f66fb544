"""What the document says in words about periods, as no schema can compare two parameters."""

import os
from datetime import date, timedelta

import schemathesis

# The first day of the newest release, by kind of window.
NEWEST = {kind: date.fromisoformat(os.environ[f"NEWEST_{kind.upper()}"]) for kind in ("day", "week", "month")}


def day(text):
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except (TypeError, ValueError):
        return None


@schemathesis.hook
def filter_query(context, query):
    """Leaves out periods that end before they begin, or are too long. What is no date stays: it is to be rejected."""
    if not query or not ("from" in query or "to" in query):
        return True
    begin, end = query.get("from"), query.get("to")
    if begin is None:
        return True
    kind = query.get("window", "week")
    begin, end = day(begin), day(end) if end is not None else NEWEST.get(kind) if isinstance(kind, str) else None
    if begin is None or end is None:
        return True
    return begin <= end <= begin + timedelta(days=400)
