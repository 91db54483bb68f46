"""The TCP session state table: paths through it, and what each state refuses."""

from typing import Any

import pytest

from nsdata.path.stream import STATE_NAMES, Conversation, StreamTracker

C, S = 1000, 5000  # first bytes of client and server

Step = tuple[Any, ...]  # dir, flags, seq, ack, payload, expected state

HANDSHAKE: list[Step] = [
    (0, "S", C - 1, 0, b"", "syn_sent"),
    (1, "SA", S - 1, C, b"", "syn_recv"),
    (0, "A", C, S, b"", "established"),
]


def walk(talk: Conversation, steps: list[Step]) -> list[dict[str, Any]]:
    results = []
    for number, (side, flags, seq, ack, payload, state) in enumerate(steps):
        out = talk.feed(side, flags, seq, ack, payload)
        assert out["state"] == state, (number, out)
        results.append(out)
    return results


def opened(tracker: StreamTracker | None = None) -> Conversation:
    talk = Conversation(tracker)
    walk(talk, HANDSHAKE)
    return talk


def ts_opened(policy: str = "bsd", c: int = 100, s: int = 200) -> Conversation:
    """An open session whose sides use timestamps from c and s on."""
    talk = Conversation(StreamTracker(policy=policy))
    talk.feed(0, "S", C - 1, tsval=c)
    talk.feed(1, "SA", S - 1, C, tsval=s, tsecr=c)
    talk.feed(0, "A", C, S, tsval=c + 1, tsecr=s)
    return talk


def test_names_of_states() -> None:
    assert STATE_NAMES[3] == "established" and len(STATE_NAMES) == 11


def test_handshake_and_what_counts_as_established() -> None:
    talk = Conversation()
    out = walk(talk, [*HANDSHAKE, (0, "PA", C, S, b"x", "established")])
    assert ["established" in o["flags"] for o in out] == [False, False, False, True]
    assert [o["established"] for o in out] == [False, False, True, True]
    assert [o["flow_state"] for o in out] == ["new", "new", "established", "established"]
    assert all(o["events"] == set() for o in out)
    assert [o["bytes"] for o in out] == [(1, 0), (1, 1), (1, 1), (2, 1)]


def test_data_on_the_last_segment_of_the_handshake_is_established() -> None:
    talk = Conversation()
    walk(talk, HANDSHAKE[:2])
    assert "established" in talk.feed(0, "PA", C, S, b"x")["flags"]


@pytest.mark.parametrize(
    "steps",
    [
        [   # the client closes first
            (0, "FA", C, S, b"", "close_wait"),
            (1, "FA", S, C + 1, b"", "last_ack"),
            (0, "A", C + 1, S + 1, b"", "closed"),
        ],
        [   # the server closes first, the client answers in one
            (1, "FA", S, C, b"", "fin_wait1"),
            (0, "FA", C, S + 1, b"", "time_wait"),
            (1, "A", S + 1, C + 1, b"", "closed"),
        ],
        [   # the server closes first, the client acknowledges, then closes
            (1, "FA", S, C, b"", "fin_wait1"),
            (0, "A", C, S + 1, b"", "fin_wait2"),
            (0, "FA", C, S + 1, b"", "time_wait"),
            (1, "A", S + 1, C + 1, b"", "closed"),
        ],
        [   # with data on the FINs
            (0, "PFA", C, S, b"bye", "close_wait"),
            (1, "PFA", S, C + 4, b"bye", "last_ack"),
        ],
        [(0, "R", C, 0, b"", "closed")],
        [(1, "RA", S, C, b"", "closed")],
        [(1, "FA", S, C, b"", "fin_wait1"), (0, "RA", C, S + 1, b"", "closed")],
    ],
)  # fmt: skip
def test_closing(steps: list[Step]) -> None:
    out = walk(opened(), steps)
    assert all(not o["events"] and "out_of_state" not in o["flags"] for o in out), out
    if steps[-1][-1] in ("closed", "last_ack"):
        assert out[-1]["flow_state"] == "closed"


def test_simultaneous_close() -> None:
    talk = opened()
    walk(talk, [(1, "FA", S, C, b"", "fin_wait1"), (0, "F", C, 0, b"", "closing")])


def test_four_way_split_handshake() -> None:
    out = walk(
        Conversation(),
        [
            (0, "S", 1000, 0, b"", "syn_sent"),
            (1, "S", 3000, 0, b"", "syn_sent"),
            (0, "SA", 1000, 3001, b"", "syn_recv"),
            (1, "A", 3001, 1001, b"", "established"),
            (0, "A", 1001, 3001, b"EVIL", "established"),
            (1, "A", 3001, 1005, b"", "established"),
            (0, "R", 1005, 0, b"", "closed"),
        ],
    )
    assert out[6]["due"] == [(0, b"", b"EVIL")]
    assert all(not o["events"] for o in out)


def test_five_way_split_handshake() -> None:
    out = walk(
        Conversation(),
        [
            (0, "S", 1000, 0, b"", "syn_sent"),
            (1, "A", 2000, 1001, b"", "syn_sent"),
            (1, "S", 3000, 0, b"", "syn_sent"),
            (0, "SA", 1000, 3001, b"", "syn_recv"),
            (1, "A", 3001, 1001, b"", "established"),
            (0, "A", 1001, 3001, b"EVIL", "established"),
        ],
    )
    assert "added" in out[5]["flags"]


@pytest.mark.parametrize(
    ("before", "segment", "event", "state"),
    [
        ([], (0, "R", 1, 0), "rst_but_no_session", "none"),
        ([], (0, "F", 1, 0), "fin_but_no_session", "none"),
        (HANDSHAKE[:1], (1, "SA", S, C + 7), "3whs_synack_with_wrong_ack", "syn_sent"),
        (HANDSHAKE[:1], (0, "SA", C, S), "3whs_synack_in_wrong_direction", "syn_sent"),
        (HANDSHAKE[:2], (0, "A", C, S + 9), "3whs_right_seq_wrong_ack_evasion", "syn_recv"),
        (HANDSHAKE[:2], (0, "A", C - 9, S + 9), "3whs_wrong_seq_wrong_ack", "syn_recv"),
        (HANDSHAKE[:2], (0, "SA", C, S), "3whs_synack_toserver_on_syn_recv", "syn_recv"),
        (HANDSHAKE[:2], (1, "SA", S - 1, C + 1), "3whs_synack_resend_with_different_ack",
         "syn_recv"),
        (HANDSHAKE[:2], (1, "S", S, 0), "3whs_syn_toclient_on_syn_recv", "syn_recv"),
        (HANDSHAKE[:2], (0, "S", C + 5, 0), "3whs_syn_resend_diff_seq_on_syn_recv", "syn_recv"),
        (HANDSHAKE, (0, "SA", C, S), "est_synack_toserver", "established"),
        (HANDSHAKE, (1, "SA", S - 1, C + 1), "est_synack_resend_with_different_ack",
         "established"),
        (HANDSHAKE, (1, "SA", S + 1, C), "est_synack_resend_with_diff_seq", "established"),
        (HANDSHAKE, (0, "S", C - 1, 0), "est_syn_resend", "established"),
        (HANDSHAKE, (0, "S", C + 9, 0), "est_syn_resend_diff_seq", "established"),
        (HANDSHAKE, (1, "S", S, 0), "est_syn_toclient", "established"),
        (HANDSHAKE, (0, "A", C, S + 90000), "est_invalid_ack", "established"),
        (HANDSHAKE, (0, "PA", C + 90000, S, b"x"), "est_packet_out_of_window", "established"),
        (HANDSHAKE, (0, "FA", C, S + 90000), "fin_invalid_ack", "established"),
        (HANDSHAKE, (0, "FA", C + 90000, S), "fin_out_of_window", "established"),
        (HANDSHAKE, (0, "SFA", C, S), "fin_syn", "established"),
        (HANDSHAKE, (0, "RA", C, S + 90000), "rst_invalid_ack", "established"),
        (HANDSHAKE, (0, "P", C, 77, b"x"), "pkt_broken_ack", "established"),
    ],
)  # fmt: skip
def test_what_is_refused(
    before: list[Step], segment: tuple[Any, ...], event: str, state: str
) -> None:
    talk = Conversation()
    walk(talk, before)
    out = talk.feed(*segment)
    assert event in out["events"]
    assert out["state"] == state and "added" not in out["flags"]


CLOSE_WAIT: list[Step] = [*HANDSHAKE, (0, "FA", C, S, b"", "close_wait")]
FIN_WAIT1: list[Step] = [*HANDSHAKE, (1, "FA", S, C, b"", "fin_wait1")]
FIN_WAIT2: list[Step] = [*FIN_WAIT1, (0, "A", C, S + 1, b"", "fin_wait2")]
LAST_ACK: list[Step] = [*CLOSE_WAIT, (1, "FA", S, C + 1, b"", "last_ack")]
TIME_WAIT: list[Step] = [*FIN_WAIT1, (0, "FA", C, S + 1, b"", "time_wait")]
CLOSING: list[Step] = [*FIN_WAIT1, (0, "F", C, 0, b"", "closing")]


@pytest.mark.parametrize("before", [CLOSE_WAIT, FIN_WAIT1, FIN_WAIT2, LAST_ACK, TIME_WAIT, CLOSING])
def test_a_syn_while_closing(before: list[Step]) -> None:
    talk = Conversation()
    walk(talk, before)
    out = talk.feed(0, "S", C + 777)
    assert "shutdown_syn_resend" in out["events"] and "out_of_state" in out["flags"]


@pytest.mark.parametrize(
    ("before", "segment", "event"),
    [
        (FIN_WAIT1, (0, "A", C, S + 90000), "fin1_invalid_ack"),
        (FIN_WAIT1, (0, "FA", C + 90000, S), "fin1_fin_wrong_seq"),
        (FIN_WAIT1, (0, "A", C + 90000, S + 1), "fin1_ack_wrong_seq"),
        (FIN_WAIT2, (0, "A", C, S + 90000), "fin2_invalid_ack"),
        (FIN_WAIT2, (0, "FA", C + 90000, S), "fin2_fin_wrong_seq"),
        (FIN_WAIT2, (0, "A", C + 90000, S), "fin2_ack_wrong_seq"),
        (CLOSE_WAIT, (1, "A", S + 90000, C), "closewait_ack_out_of_window"),
        (CLOSE_WAIT, (1, "FA", S + 90000, C), "closewait_fin_out_of_window"),
        (CLOSE_WAIT, (1, "A", S, C + 90000), "closewait_invalid_ack"),
        (CLOSING, (0, "A", C + 9, S), "closing_ack_wrong_seq"),
        (LAST_ACK, (0, "A", C + 1, S + 90000), "lastack_invalid_ack"),
        (LAST_ACK, (0, "A", C + 9, S), "lastack_ack_wrong_seq"),
        (TIME_WAIT, (0, "A", C + 9, S), "timewait_ack_wrong_seq"),
        (TIME_WAIT, (0, "A", C, S + 90000), "timewait_invalid_ack"),
    ],
)
def test_what_closing_states_refuse(
    before: list[Step], segment: tuple[Any, ...], event: str
) -> None:
    talk = Conversation()
    walk(talk, before)
    out = talk.feed(*segment)
    assert event in out["events"] and "out_of_state" in out["flags"]


def test_a_failed_check_in_an_open_session_is_no_error_of_the_session() -> None:
    """A host answers it; inline it must not be dropped, or the connection would hang."""
    talk = opened()
    talk.feed(0, "PA", C, S, b"abc")
    talk.feed(0, "PA", C + 3, S, b"def")
    talk.feed(1, "A", S, C + 6)
    out = talk.feed(0, "PA", C, S, b"abc")
    assert "pkt_spurious_retransmission" in out["events"]
    assert "est_pkt_before_last_ack" in out["events"]
    assert "out_of_state" not in out["flags"]


def test_synack_of_another_isn_is_remembered() -> None:
    talk = Conversation()
    walk(talk, HANDSHAKE[:2])
    assert talk.feed(1, "SA", 9000, C)["events"] == set()
    assert talk.feed(0, "A", C, 9001)["state"] == "established"
    assert "added" in talk.feed(1, "PA", 9001, C, b"x")["flags"]
    assert talk.flush(1) == [(0, b"", b"x")]
    talk = Conversation()
    walk(talk, HANDSHAKE[:2])
    events = [talk.feed(1, "SA", 9000 + i, C)["events"] for i in range(7)]
    assert events[4] == set() and events[5] == {"3whs_synack_flood"}


def test_syns_with_other_timestamps_are_remembered() -> None:
    talk = Conversation()
    for value in (10, 20, 30):
        assert talk.feed(0, "S", C - 1, tsval=value)["events"] == set()
    assert talk.feed(1, "SA", S - 1, C, tsval=1, tsecr=25)["events"] == {"pkt_invalid_timestamp"}
    assert talk.feed(1, "SA", S - 1, C, tsval=1, tsecr=10)["state"] == "syn_recv"
    talk = Conversation()
    events = [talk.feed(0, "S", C - 1, tsval=value + 1)["events"] for value in range(13)]
    assert events[10] == set() and events[12] == {"3whs_syn_flood"}


def test_answers_with_a_made_up_timestamp_echo_are_refused() -> None:
    talk = Conversation()
    talk.feed(0, "S", C - 1, tsval=1821165629)
    for flags in ("RA", "FA"):
        out = talk.feed(1, flags, 0, C, tsval=100, tsecr=100)
        assert out["events"] == {"pkt_invalid_timestamp"} and out["state"] == "syn_sent"
    out = talk.feed(1, "SA", S - 1, C, tsval=5, tsecr=0)
    assert out["state"] == "syn_recv"


def test_paws_keeps_old_timestamps_out_of_the_stream() -> None:
    talk = ts_opened()
    assert "added" in talk.feed(0, "PA", C, S, b"good", tsval=110, tsecr=200)["flags"]
    out = talk.feed(0, "PA", C + 4, S, b"EVIL", tsval=50, tsecr=200)
    assert out["events"] == {"pkt_invalid_timestamp"}
    assert "added" not in out["flags"] and "out_of_state" in out["flags"]
    talk.feed(0, "PA", C + 4, S, b"more", tsval=111, tsecr=200)
    assert talk.flush(0) == [(0, b"", b"goodmore")]


def test_paws_per_policy_and_age() -> None:
    assert ts_opened("linux").feed(0, "PA", C, S, b"x", tsval=100)["events"] == set()
    for policy, last, refused in (("bsd", 0, True), ("windows", 0xFFFFFFF0, False)):
        out = ts_opened(policy, c=last).feed(0, "PA", C, S, b"x", tsval=0)
        assert ("pkt_invalid_timestamp" in out["events"]) == refused
    out = ts_opened().feed(0, "PA", C, S, b"x", tsval=50, ts=2_100_000)  # 24 days on
    assert out["events"] == set() and "added" in out["flags"]
    assert ts_opened(c=0xFFFFFFFE).feed(0, "PA", C, S, b"x", tsval=3)["events"] == set()


def test_reset_must_fit() -> None:
    talk = opened()
    assert talk.feed(1, "R", S + 5)["state"] == "established"
    assert talk.feed(1, "R", S)["state"] == "closed"
    assert opened(StreamTracker(policy="linux")).feed(1, "R", S + 5)["state"] == "closed"


def test_sender_of_a_signed_reset_that_goes_on_did_not_send_it() -> None:
    talk = opened()
    md5 = bytes([1, 1, 19, 18]) + bytes(16)
    assert talk.feed(1, "R", S, options=md5)["state"] == "closed"
    out = talk.feed(1, "PA", S, C, b"still here")
    assert "suspected_rst_inject" in out["events"]
    assert out["state"] == "established"


def test_keep_alive_is_left_alone() -> None:
    talk = opened()
    talk.feed(0, "PA", C, S, b"abc")
    talk.feed(1, "A", S, C + 3)
    for payload in (b"", b"\0"):
        assert talk.feed(0, "A", C + 2, S, payload)["events"] == set()
        assert talk.feed(1, "A", S, C + 3)["events"] == set()
    assert talk.flush(0) == [(0, b"", b"abc")]


def test_overtaken_acknowledgment_is_left_alone() -> None:
    talk = opened()
    talk.feed(0, "PA", C, S, b"a" * 100)
    talk.feed(1, "A", S, C + 100)
    assert talk.feed(1, "A", S, C + 50)["events"] == set()


def test_window_scaling_decides_what_is_in_window() -> None:
    for scaled, refused in ((None, True), (7, False)):
        talk = Conversation()
        talk.feed(0, "S", C - 1, window=1000, wscale=scaled)
        talk.feed(1, "SA", S - 1, C, window=1000, wscale=scaled)
        talk.feed(0, "A", C, S, window=1000)
        talk.feed(1, "A", S, C, window=1000)
        out = talk.feed(0, "PA", C + 5000, S, b"x")
        assert ("est_packet_out_of_window" in out["events"]) == refused


def test_window_update_nobody_can_expect() -> None:
    talk = opened()
    out = talk.feed(1, "A", S + 10, C + 10, window=20)
    assert out["events"] == {"pkt_bad_window_update"}
    assert "added" in talk.feed(0, "PA", C, S, b"x" * 1000)["flags"]


def test_midstream_is_refused_unless_asked_for() -> None:
    tracker = StreamTracker()
    talk = Conversation(tracker)
    out = talk.feed(0, "PA", C, S, b"data")
    assert "refused" in out["flags"] and out["state"] == "none" and talk.flush(0) == []
    assert tracker.stats()["midstream_refused"] == 1 and tracker.stats()["sessions"] == 0


def test_midstream_pick_up_of_data() -> None:
    talk = Conversation(StreamTracker(midstream=True))
    out = talk.feed(0, "PA", C, S, b"GET")
    assert (out["state"], out["midstream"], out["dir"]) == ("established", True, 0)
    talk.feed(1, "PA", S, C + 3, b"200")
    talk.feed(0, "A", C + 3, S + 3)
    assert talk.flush(0) == [(0, b"", b"GET")] and talk.flush(1) == [(0, b"", b"200")]


def test_midstream_pick_up_finds_the_server() -> None:
    """The SYN/ACK, and data from a port only servers have, turn the flow round."""
    for flags, payload, state in (("SA", b"", "syn_recv"), ("PA", b"200 OK", "established")):
        talk = Conversation(StreamTracker(midstream=True), sport=80, dport=40000)
        out = talk.feed(0, flags, S, C, payload)
        assert (out["dir"], out["ports"], out["state"]) == (1, (40000, 80), state)
        first = S + 1 if flags == "SA" else S + len(payload)
        out = talk.feed(0, "PA", C, first, b"GET")
        assert out["state"] == "established" and "added" in out["flags"]
        assert "added" in talk.feed(1, "PA", first, C + 3, b"more")["flags"]


def test_one_side_alone() -> None:
    talk = Conversation(StreamTracker(async_oneside=True))
    assert talk.feed(0, "S", C - 1)["state"] == "syn_sent"
    assert talk.feed(0, "A", C, S)["state"] == "established"
    for i in range(5):
        assert "added" in talk.feed(0, "PA", C + 4 * i, S, b"data")["flags"]
    assert talk.flush(0) == [(0, b"", b"data" * 5)]
    out = Conversation(StreamTracker(async_oneside=True))
    out.feed(0, "S", C - 1)
    assert out.feed(0, "A", C + 7, S)["events"] == {"3whs_async_wrong_seq"}


def test_lost_handshake_acknowledgment() -> None:
    """Watching, the server's data shows that it arrived; inline somebody is injecting."""
    talk = Conversation()
    walk(talk, HANDSHAKE[:2])
    assert talk.feed(1, "PA", S, C, b"220 hello")["state"] == "established"
    talk = Conversation(StreamTracker(inline=True))
    walk(talk, HANDSHAKE[:2])
    out = talk.feed(1, "PA", S, C, b"220 hello")
    assert out["events"] == {"3whs_ack_data_inject"} and out["state"] == "syn_recv"
    assert talk.feed(1, "A", S, C)["events"] == {"3whs_ack_in_wrong_dir"}


@pytest.mark.parametrize("option", [bytes([34, 10]), bytes([1, 254, 12, 0xF9, 0x89])])
def test_fast_open(option: bytes) -> None:
    cookie = (option + bytes(8)).ljust(16, b"\1")
    talk = Conversation()
    talk.feed(0, "S", C - 1, 0, b"GET /", options=cookie)
    assert talk.feed(1, "SA", S - 1, C + 5)["state"] == "established"
    talk.feed(0, "PA", C + 5, S, b" HTTP")
    assert talk.flush(0) == [(0, b"", b"GET / HTTP")]
    talk = Conversation()
    talk.feed(0, "S", C - 1, 0, b"GET /", options=cookie)
    assert talk.feed(1, "SA", S - 1, C)["events"] == {"3whs_synack_tfo_data_ignored"}
    talk.feed(0, "PA", C, S, b"POST /")
    assert talk.flush(0) == [(0, b"", b"POST /")]


def test_data_on_a_syn_without_fast_open_is_not_taken() -> None:
    for options in (b"", bytes([254, 4, 0, 1]), bytes([34]), bytes([2, 0]), bytes([254, 3, 0xF9])):
        talk = Conversation()
        assert "added" not in talk.feed(0, "S", C - 1, 0, b"GET /", options=options)["flags"]


def test_bad_checksum_is_ignored_when_told() -> None:
    tracker = StreamTracker()
    talk = opened(tracker)
    assert talk.feed(0, "PA", C, S, b"EVIL", bad_checksum=True)["flags"] == set()
    assert talk.feed(0, "PA", C, S, b"good")["flags"] >= {"added"}
    assert talk.flush(0) == [(0, b"", b"good")] and tracker.stats()["invalid_checksum"] == 1
    talk = opened(StreamTracker(ignore_bad_checksum=False))
    assert "added" in talk.feed(0, "PA", C, S, b"EVIL", bad_checksum=True)["flags"]


def test_arguments_are_checked() -> None:
    for bad in ({"policy": "amiga"}, {"toserver_chunk": 0}, {"depth": -1}, {"max_segments": 0}):
        with pytest.raises(ValueError, match=r"policy|chunk|depth|max_segments"):
            StreamTracker(**bad)
