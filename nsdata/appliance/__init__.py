"""A running box: a supervisor, the port that forwards, workers that inspect, a writer of events.

    source ─► port ═rings═► worker … worker ─► writer ─► EVE
               ▲   forwards, permits, counts      │
               └──────── supervisor ◄─────────────┘   status pages, sensors, store

Each is a process. What decides is in nsdata.fallback; the supervisor observes and carries out.
"""
