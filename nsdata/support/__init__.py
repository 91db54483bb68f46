"""A support report's rules and ways: where it may go, what is redacted, how it is written and sent.

    parts ─► redact ─► archive ─► upload ─► url, address (what is allowed)

Knows no appliance and no manager; both use it.
"""
