"""The appliance's side of its manager: enrolled, it reports each second and does what is asked.

    agency (in the supervisor) ─starts─► agent ─mutual TLS─► manager
                                          ├─ journal   what it must not forget, on disk
                                          └─ orders    what is asked, through the control socket

`account` is what the supervisor says of itself; `membership` the files that enrolment leaves.
"""
