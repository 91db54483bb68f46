"""Synthesis, place and route of the block: what it costs and how fast it runs (`make synth`)."""
