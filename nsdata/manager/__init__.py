"""The manager: one service for many appliances. docs/manager.md explains it.

    people, programs ── HTTPS ──► api (and pages) ─┐
                                                   ├─► views, accounts, … ─► database
    agents ── mutual TLS ──► agent_api ─► ingest ──┘

It sees appliances only through `nsdata.appliance.protocol`.
"""
