"""What `nsdata scenario new` writes: a scenario that runs, and says what may be changed."""

TEMPLATE = '''\
# A scenario: what happens to an appliance, and what it must do then. docs/scenarios.md explains
# every key. Run it:  nsdata scenario run THIS_FILE --html report.html
title = "A worker that hangs"
story = """
A worker stops answering. After its heartbeat limit of 500 ms the appliance goes into fallback and
permits all traffic; the worker is killed and started again, and when it has beaten for long enough
an operator restores the appliance.
"""
duration = "20s"                       # of virtual time: it takes a second or so to run
rule_text = \'alert udp any any -> any any (msg:"an attack"; content:"ATTACK"; sid:1;)\'
# rules = ["my.rules"]                 # or: rule files, relative to this file

[traffic]
generate = { attack_every = 100 }      # made up; every 100th frame says ATTACK
# captures = ["office.pcap"]           # or: captures, relative to this file, again and again
rate = "2kpps"

[appliance]
workers = 2
capacity = "10kpps"                    # of each worker, in virtual time

[settings]                             # any setting of docs/operations.md
"watch.heartbeat-clear" = "2s"

# --- what happens ---------------------------------------------------------------------------
[[action]]
name = "hang"                          # expectations count from it
at = "3s"                              # or: at_packet = 6000
do = "stop"                            # as SIGSTOP
process = "worker-0"

[[action]]
name = "too-early"
at = "4s"
do = "restore"                         # refused: the cause still holds

[[action]]
name = "restored"
at = "10s"
do = "restore"

# --- what must be true ----------------------------------------------------------------------
[[expect]]
after = "hang"
within = "520ms"
state = "fallback"
reason = "heartbeat error"
severity = "Critical"
evidence = { "given.process" = "worker-0", "given.silence_ns" = "> 500000000" }

[[expect]]
after = "too-early"
within = "100ms"
outcome = "refused"

[[expect]]
name = "only what its ring could not take is lost"
after = "hang"
permitted_at_least = 0.98

[[expect]]
after = "restored"
for = "5s"
state = "normal"
'''
