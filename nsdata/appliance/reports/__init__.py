"""Support reports of a running appliance: `reports` (in the supervisor) has a `maker` process put
the `parts` into an archive (nsdata.support.archive) and send it (nsdata.support.upload).
"""
