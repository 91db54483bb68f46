# cython: language_level=3
"""Names of decode and stream events, as the rule language writes them."""


def event_names() -> dict:
    """Map `"ipv4.opt_invalid_len"` / `"stream.est_invalid_ack"` to the event's bit number."""
    names = {}
    for member in Event:
        if member.name != "EV_COUNT":
            names[member.name[3:].lower().replace("__", ".")] = int(member)
    return names
