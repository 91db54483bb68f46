"""Incidents written down: a timeline of what happens to an appliance, and what it must do then.

    scenario.load ─► virtual.Box (one process, virtual time) ─┐
                     real.Box (processes, signals, files)  ───┴─► Record ─► judge ─► junit, page

A host over the same pipeline, port and deciders as the appliance (docs/scenarios.md).
"""
