"""How a running appliance tells the world: `/metrics`, webhooks, syslog.

    reporting (in the supervisor) ─board: a snapshot twice a second─► reporter ─► scrape: /metrics
                                  └─messages: notifications─► outbox ─courier─► webhook, syslog
"""
