"""Streams cut anywhere: what fires with the block's verdicts is what fires without.

Each example is a conversation with contents of the rules in it, cut into segments at random places,
some sent again, out of order, overlapping or with other bytes; it runs with and without the golden
model in front, and EVE, verdicts and ledger must be the same bytes.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import traffic
from engines import loaded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traffic import ACK, PSH, Talk

import nsdata
from nsdata import Pipeline, Settings, build_engine
from nsdata.capture import open_capture
from nsdata.fallback.guard import Guard
from nsdata.offload.session import ModelOffload, Session, image_for
from nsdata.output.events import EveWriter

RULES = """
alert tcp any any -> any any (flow:established; content:"needle"; sid:1;)
alert tcp any any -> any any (content:"AbcdefGh12"; nocase; sid:2;)
alert tcp any any -> any any (flow:established,to_server; content:"wxyz"; sid:3;)
alert tcp any any -> any 81 (content:"qq"; sid:4;)
alert tcp any any -> any any (content:"head"; content:"tailtail"; distance:0; sid:5;)
alert tcp any any -> any any (pcre:"/zz+Q/"; sid:6;)
alert tcp any any -> any any (content:!"needle"; content:"common"; sid:7;)
alert tcp any any -> any any (dsize:5; content:"fives"; sid:8;)
alert tcp any any -> any any (flow:established,no_stream; content:"packet"; sid:9;)
alert tcp any any -> any any (flow:established,only_stream; content:"streamed"; sid:10;)
pass tcp any any -> any any (flow:established; content:"passmenow"; sid:11;)
alert tcp any any -> any any (flow:established; content:"bypassflow"; bypass; sid:12;)
drop tcp any any -> any any (flow:established; content:"dropflow"; sid:13;)
alert udp any any -> any any (content:"needle"; sid:14;)
alert tcp any any -> any any (content:"long|00 00 00 00 00 00|"; sid:15;)
alert tcp any any -> any any (content:"head"; flowbits:set,seen; noalert; sid:16;)
alert tcp any any -> any any (flowbits:isset,seen; content:"wxyz"; sid:17;)
"""
CONTENTS = [
    b"needle", b"aBCDEFgh12", b"wxyz", b"qq", b"head", b"tailtail", b"zzzQ", b"common", b"fives",
    b"packet", b"streamed", b"passmenow", b"bypassflow", b"dropflow", b"long\0\0\0\0\0\0",
    b"needl", b"eedle", b"tail",
]  # fmt: skip
TYPES = ("alert", "drop", "flow", "fallback", "ledger")


def pipeline(
    rules: str, sets: list[str], block: bool, inline: bool, **more: Any
) -> tuple[Pipeline, Session | None]:
    """A pipeline, with the golden model in front or without."""
    chosen = Settings.load(sets=sets)
    built = loaded(rules)
    engine = build_engine(built, chosen, inline=inline, **more)
    session = None
    if block:
        session = Session(ModelOffload(), chosen.offload)
        session.attach(
            engine, built, image_for(built, chosen.tunnel_ports(), chosen.offload.leave_common)
        )
    made = Pipeline(
        engine, Guard.build(chosen.drop_meter.build()), EveWriter(None, TYPES), offload=session
    )
    made.set_rules(built.fragments, built.sids)
    return made, session


def play(
    frames: list[bytes], times: list[int], sets: list[str], block: bool, inline: bool,
    rules: str = RULES,
) -> tuple[list[int], bytes, Session | None, Pipeline]:  # fmt: skip
    made, session = pipeline(rules, sets, block, inline)
    verdicts = made.feed(traffic.batch(frames, times)).tolist()
    made.finish()
    made.eve.ledger(made.last_ns, made.ledger())
    return verdicts, made.eve.take(), session, made


pieces = st.one_of(
    st.sampled_from(CONTENTS), st.sampled_from(CONTENTS), st.integers(0, 12).map(lambda n: b"." * n)
)
tricks = st.tuples(
    st.sampled_from(["again", "swap", "back", "other", "ack", "half"]), st.integers(0, 60),
    st.integers(1, 9),
)  # fmt: skip


def conversation(
    text: bytes, cuts: list[int], todo: list[tuple[str, int, int]], port: int, every: int
) -> list[bytes]:
    """Frames of a client that says `text` in pieces, played upon by `todo`."""
    talk = Talk(dport=port).open()
    base, server = talk.next[0], talk.next[1]
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    parts = [(a, text[a:b]) for a, b in pairwise(edges)]
    for kind, where, size in todo:
        if not parts:
            break
        at = where % len(parts)
        off, data = parts[at]
        if kind == "again":
            parts.insert(at + where % 3, (off, data))
        elif kind == "swap" and at:
            parts[at - 1], parts[at] = parts[at], parts[at - 1]
        elif kind == "back":
            start = max(0, off - size)
            parts[at] = (start, text[start : off + len(data)])
        elif kind == "other":
            parts.insert(at, (off, bytes(byte ^ 1 for byte in data)))
        elif kind == "half" and where % 2:
            del parts[at]
    frames, reached = talk.frames, 0
    for number, (off, data) in enumerate(parts):
        talk.next[0] = base + off
        frames.append(talk.segment(0, PSH | ACK, data))
        reached = max(reached, off + len(data))
        if number % every == 0:
            talk.next[0] = base + reached
            frames.append(talk.segment(1, ACK))
    talk.next = [base + len(text), server]
    talk.server(b"..", b"need", b"le").close()
    return frames


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(pieces, max_size=10).map(b"".join),
    st.lists(st.integers(0, 200), max_size=14),
    st.lists(tricks, max_size=5),
    st.sampled_from([80, 80, 81]),
    st.integers(1, 4),
    st.sampled_from([1, 16, 2560, 2560]),
    st.booleans(),
    st.sampled_from([0, 0, 0.4, 1]),
    st.sampled_from([1, 50, 2000]),
)
def test_streams_fire_alike(
    text: bytes, cuts: list[int], todo: list[tuple[str, int, int]], port: int, every: int,
    chunk: int, inline: bool, share: float, pace: int,
) -> None:  # fmt: skip
    frames = conversation(text, cuts, todo, port, every)
    frames += [traffic.udp(text), traffic.udp(b"....")]
    times = [traffic.START_NS + i * pace * traffic.MS for i in range(len(frames))]
    sets = [
        f"stream.reassembly.toserver-chunk-size={chunk}", f"offload.check-share={share}",
    ]  # fmt: skip
    plain = play(frames, times, sets, False, inline)
    judged = play(frames, times, sets, True, inline)
    assert judged[2] is not None and judged[:2] == plain[:2]


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("inline", [False, True])
def test_every_seam_of_every_content(size: int, inline: bool) -> None:
    """Segments of `size` bytes, every content at every place of the seams."""
    fired = 0
    for content in (b"needle", b"wxyz", b"streamed", b"aBCDEFgh12"):
        for lead in range(size + 1):
            talk = Talk().open()
            text = b"." * (lead + 9) + content + b"." * 9
            talk.client(*(text[at : at + size] for at in range(0, len(text), size))).close()
            times = [traffic.START_NS + i * traffic.MS for i in range(len(talk.frames))]
            chunk = 2560 if inline else 1  # inline: how far back a match may begin
            sets = ["offload.check-share=0", f"stream.reassembly.toserver-chunk-size={chunk}"]
            plain = play(talk.frames, times, sets, False, inline)
            judged = play(talk.frames, times, sets, True, inline)
            assert judged[:2] == plain[:2]
            fired += judged[1].count(b'"alert":')
            assert judged[2] is not None and judged[2].stats()["verdicts"]["clear"]
    assert fired


def test_clean_streams_are_not_searched() -> None:
    text = [b"nothing of note " * 20] * 40
    frames = Talk().open().client(*text).server(b"." * 900).close().frames
    times = [traffic.START_NS + i * traffic.MS for i in range(len(frames))]
    _, _, session, made = play(frames, times, ["offload.check-share=0"], True, False)
    stats = made.engine.stats()
    assert session is not None and session.stats()["verdicts"]["clear"] == len(frames)
    assert stats["detect"]["scanned_bytes"] == 0 and stats["detect"]["spared_bytes"] > 10_000
    assert stats["stream"]["seams"] and not stats["stream"]["seam_hits"]


@pytest.mark.parametrize("inline", [False, True])
def test_what_is_spared_is_a_share_of_what_would_be_searched(captures: Path, inline: bool) -> None:
    """Made and left-out searches are those of an engine without the block, byte for byte."""
    rules = captures.parents[1] / "demo" / "demo.rules"

    def searched(offload: str | None) -> tuple[int, int]:
        with open_capture(captures / "office.pcap") as reader:
            engine = nsdata.Engine([rules], inline=inline, offload=offload)
            for batch in reader.batches():
                engine.inspect_batch(batch)
        figures = engine.pipeline.engine.stats()["detect"]
        engine.close()
        return figures["scanned_bytes"], figures["spared_bytes"]

    without, none = searched(None)
    made, spared = searched("model")
    assert none == 0 and made + spared == without and spared > 10_000


def test_a_hit_at_a_seam_has_the_stream_searched() -> None:
    frames = Talk().open().client(b"." * 100 + b"nee", b"dle" + b"." * 100).close().frames
    times = [traffic.START_NS + i * traffic.MS for i in range(len(frames))]
    _, eve, session, made = play(frames, times, ["offload.check-share=0"], True, False)
    assert session is not None and session.stats()["verdicts"]["suspect"] == 0
    assert made.engine.stats()["stream"]["seam_hits"] == 1
    assert b'"signature_id":1,' in eve


@pytest.mark.parametrize("block", [False, True])
def test_other_rules_make_old_bytes_unknown(block: bool) -> None:
    """What was CLEAR by one image, and waits for its turn, is searched for the next rules."""
    made, session = pipeline(RULES, ["offload.check-share=0"], block, False)
    other = loaded('alert tcp any any -> any any (content:"brandnew"; sid:99;)')
    talk = Talk().open().client(b"..brandnew..")
    made.feed(traffic.batch(talk.frames))
    made.swap_rules(other.base, other.fragments, other.sids)
    if session is not None:
        assert session.stats()["verdicts"]["suspect"] == 0
        session.attach(made.engine, other, image_for(other))
    before = len(talk.frames)
    talk.client(b"......", b"....").close()
    times = [traffic.START_NS + n * traffic.SECOND for n in range(3, 3 + len(talk.frames) - before)]
    made.feed(traffic.batch(talk.frames[before:], times))
    made.finish()
    assert b'"signature_id":99,' in made.eve.take()
