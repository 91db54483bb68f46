"""The pytest plugin: fixtures, assertions that fail when they should, and errors that teach."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from offload.blocks import card, needed

from nsdata.testing import Fpga, LoopEngine
from nsdata.testing.fpga import check_spec

pytest_plugins = ("pytester",)
ROOT = Path(__file__).parents[2]
HEAD = """
import pytest
pytestmark = [
    pytest.mark.rules('drop udp any any -> any 8125 (content:"card="; sid:1;)', inline=True),
    pytest.mark.capture("traffic.pcap"),
]
"""


class Runner:
    """Runs a test file of a project that has a capture beside it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        pytester.syspathinsert(ROOT)
        capture = (ROOT / "examples" / "hil" / "traffic.pcap").read_bytes()
        (pytester.path / "traffic.pcap").write_bytes(capture)

    def __call__(self, body: str, *arguments: str, head: str = HEAD) -> pytest.RunResult:
        self.pytester.makepyfile(head + body)
        return self.pytester.runpytest_inprocess(
            "-p", "pytest_nsdata", "-p", "no:cacheprovider", "--strict-markers", *arguments
        )


@pytest.fixture
def run(pytester: pytest.Pytester) -> Runner:
    return Runner(pytester)


def test_fixtures_work_and_the_block_is_new_for_each_test(run: Runner) -> None:
    done = run(
        """
        def test_a(engine, capture, fpga):
            with fpga.injected("SEU"):
                engine.inspect_batch(capture[:100])
            engine.assert_fallback("FPGA reported error", within_frames=64, error="SEU")
            fpga.transport.pins(over_temp=True)
        def test_b(engine, capture, fpga):
            fpga.transport.close()
        def test_c(engine, capture, fpga):
            assert engine.inspect_batch(capture[:]).tolist().count(1) == 16
            assert engine.alerts() == {1: 16} and engine.offload()["block_errors"] == {}
            engine.assert_inspecting()
            engine.assert_ledger_balanced()
            assert len(capture) == 640 and len(capture[10:20]) == 10
            assert fpga.kind == "model" and fpga.fault_frame is None
        @pytest.mark.settings("offload.check-share=1")
        class TestSettings:
            @pytest.mark.settings("offload.shunt=false")
            def test_d(self, engine, capture):
                assert engine.settings.offload.check_share == 1
                assert not engine.settings.offload.shunt
        """.replace("\n        ", "\n"),
        "--fpga=model",
    )
    done.assert_outcomes(passed=4)
    done.stdout.fnmatch_lines(["nsdata: --fpga=model"])


def test_assertions_that_should_fail_do(run: Runner) -> None:
    done = run(
        """
        def test_calm(engine, capture):
            engine.inspect_batch(capture[:100])
            engine.assert_fallback()
        def test_by_hand(engine, capture):
            engine.inspect_batch(capture[:100])
            engine.fallback()
            engine.assert_fallback("FPGA reported error")
        def test_other_class(engine, capture, fpga):
            with fpga.injected("SEU"):
                engine.inspect_batch(capture[:100])
            engine.assert_fallback(error="LATE")
        def test_too_late(engine, capture, fpga):
            with fpga.injected("SEU"):
                engine.inspect_batch(capture[:100])
            engine.assert_fallback(within_frames=63)
        def test_no_fault(engine, capture):
            engine.inspect_batch(capture[:1])
            engine.fallback()
            engine.assert_fallback("no error", within_frames=1)
        def test_reason(engine):
            engine.assert_fallback("no eror")
        def test_restored(engine, capture, fpga):
            with fpga.injected("SEU"):
                engine.inspect_batch(capture[:100])
            engine.restore()
            engine.assert_fallback()
        def test_inspecting(engine, capture, fpga):
            with fpga.killed():
                engine.inspect_batch(capture[:100])
            engine.assert_inspecting()
        def test_frames_nobody_saw(engine, capture):
            engine.inspect_batch(capture[:100])
            engine.fed += 1
            engine.assert_ledger_balanced()
        def test_verdicts_that_say_otherwise(engine, capture):
            verdicts = engine.inspect_batch(capture[:100])
            from nsdata import Verdict
            engine.verdicts[Verdict.PASS] -= 1
            engine.verdicts[Verdict.DROP] += 1
            engine.assert_ledger_balanced()
        """.replace("\n        ", "\n"),
        "-v",
    )
    done.assert_outcomes(failed=10)
    for words in (
        "*the engine is not in fallback (wanted: FPGA reported error)",
        "*in fallback for another reason: no error, not FPGA reported error",
        "*the evidence is of SEU, not LATE: SEU: the device reports an upset*",
        "*fallback holds from frame 65 on, 64 frames after the fault (frame 0); wanted: within 63",
        "*within_frames counts from a fault, and none was brought about. Use a context*",
        "*reason 'no eror' is none. There are: FPGA reported error; process error*",
        "*it was, 1 times, and was restored",
        "*the engine is in fallback, not inspecting",
        "*the ledger does not fit the frames: received 100, counted 101",
        "*the ledger does not fit the frames: inspected + bypassed 98, counted 97",
        "*-- nsdata engine --*",
        "transition: normal -> fallback, entered, FPGA reported error, from frame 65 on: SEU*",
    ):
        done.stdout.fnmatch_lines([words])


def test_faults(run: Runner) -> None:
    done = run(
        """
        def test_heartbeat(engine, capture, fpga):
            engine.inspect_batch(capture[:64])
            with fpga.without_heartbeat():
                engine.idle()
            engine.assert_fallback(within_frames=0, error="HEARTBEAT")
            engine.restore()
            engine.inspect_batch(capture[64:])
            engine.assert_inspecting()
        def test_killed(engine, capture, fpga):
            engine.inspect_batch(capture[:64])
            before = fpga.transport
            with fpga.killed():
                engine.inspect_batch(capture[64:128])
            engine.assert_fallback(within_frames=64, error="TransportDied")
            engine.restore()
            assert fpga.transport is not before
        def test_pin(engine, capture, fpga):
            engine.inspect_batch(capture[:64])
            with fpga.pin_high(over_temp=True):
                engine.idle()
            engine.assert_fallback(within_frames=0, error="OVER_TEMP")
        def test_silent(engine, fpga):
            with fpga.silent_fault("no_such_port"):
                pass
        def test_outranked(engine, capture, fpga):
            engine.inspect_batch(capture[:64])
            engine.fallback()
            engine.assert_fallback("no error")
            with fpga.injected("SEU"):
                engine.idle()
            evidence = engine.assert_fallback(within_frames=0, error="SEU")
            assert evidence["previous"]["reason"] == "no error"
        def test_own(engine, capture, fpga):
            engine.inspect_batch(capture[:10])
            fpga.fault_begins()
            assert fpga.fault_frame == 10
        def test_unknown(fpga):
            with fpga.injected("SEX"):
                pass
        """.replace("\n        ", "\n"),
        "-rs",
    )
    done.assert_outcomes(passed=5, skipped=1, failed=1)
    done.stdout.fnmatch_lines(["*no test-only port no_such_port; there are*"])
    done.stdout.fnmatch_lines(["*no such error class. There are ECC_CE, ECC_UE, PARITY*"])


def test_a_fault_a_card_cannot_have_skips_the_test() -> None:
    """A process that serves a card is not the test's to kill, nor are its pins in reach."""
    needed("pcie")
    with card() as (place, _):
        fpga = Fpga(f"pcie:{place}")
        try:
            fpga.begin()
            with pytest.raises(pytest.skip.Exception, match="not started here"), fpga.killed():
                raise AssertionError
            with pytest.raises(pytest.skip.Exception, match="out of reach"), fpga.pin_high():
                raise AssertionError
        finally:
            fpga.close()


@pytest.mark.parametrize(
    ("spec", "words"),
    [("modle", "--fpga=modle: no such transport. There are model"), ("pcie", "which card?")],
)
def test_a_transport_that_is_none_ends_the_run(run: Runner, spec: str, words: str) -> None:
    done = run("def test_a(fpga): pass\n", f"--fpga={spec}")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*{words}*"])
    with pytest.raises(pytest.UsageError):
        check_spec(spec)


def test_a_simulator_that_is_missing(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(run.pytester.path))
    done = run("def test_a(fpga): pass\ndef test_b(): pass\n", "--fpga=rtl")
    done.assert_outcomes(errors=1, passed=1)
    done.stdout.fnmatch_lines(["*--fpga=rtl cannot be used here: *no clang++ and no g++ here*"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def test_a(capture): pass", "the fixture capture wants one file: *"),
        ("@pytest.mark.capture('a', 'b')\ndef test_a(capture): pass", "*wants one file*"),
        (
            "@pytest.mark.capture('none.pcap')\ndef test_a(capture): pass",
            "@pytest.mark.capture('none.pcap'): no such file; tried *",
        ),
        (
            "@pytest.mark.capture(__file__)\ndef test_a(capture): pass",
            "*: byte 0: this looks like a text file, not a capture*",
        ),
        ("def test_a(engine): pass", "the fixture engine wants rules: *"),
        (
            "@pytest.mark.rules('x(', inlin=True)\ndef test_a(engine): pass",
            "@pytest.mark.rules: inlin means nothing to it; there are inline and strict",
        ),
        ("@pytest.mark.rules('x.rules')\ndef test_a(engine): pass", "*'x.rules'): no such file*"),
        (
            "@pytest.mark.rules('alert nonsense (sid:1;)')\ndef test_a(engine): pass",
            "rules were refused (strict=False *",
        ),
        (
            "@pytest.mark.rules('alert ip any any -> any any (sid:1;)')\n"
            "@pytest.mark.settings('offload.chek-share=1')\ndef test_a(engine): pass",
            "the engine of this test cannot be made: *offload.chek-share*",
        ),
    ],
)
def test_misuse_is_explained(run: Runner, body: str, words: str) -> None:
    done = run(body + "\n", head="import pytest\n")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines([words])
    assert "Traceback" not in done.stdout.str() and "During handling" not in done.stdout.str()


def test_refused_rules_may_be_allowed(run: Runner) -> None:
    done = run(
        "@pytest.mark.rules('alert nonsense (sid:1;)', strict=False)\ndef test_a(engine):\n"
        "    assert len(engine.refused) == 1\n"
    )
    done.assert_outcomes(passed=1)


def test_a_marker_that_is_none(run: Runner) -> None:
    done = run("@pytest.mark.captur('x')\ndef test_a(): pass\n")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.stdout.fnmatch_lines(["*'captur' not found in `markers`*"])


def test_named_twice_and_unused_it_does_no_harm(pytester: pytest.Pytester) -> None:
    """By `-p` and by a conftest; and a run without its fixtures does not import nsdata."""
    pytester.makeconftest("pytest_plugins = ['pytest_nsdata']\n")
    pytester.makepyfile("import sys\ndef test_a(): assert 'nsdata' not in sys.modules\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_nsdata"]
    done = subprocess.run(
        command, cwd=pytester.path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_document_names_what_there_is() -> None:
    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    public = [name for name in vars(Fpga) if not name.startswith("_")]
    for name in {*public, *vars(LoopEngine)} - {"begin", "close", "received", "inspect_batch"}:
        assert name.startswith("_") or f"`{name}" in text or f".{name}" in text, name
    [code] = re.findall(r"```python\n(.*?)```", text, re.S)
    assert code in (ROOT / "examples" / "hil" / "README.md").read_text(encoding="utf-8").replace(
        "    evidence = engine.assert", "    engine.assert"
    ).replace('    print(evidence["given"]["fpga"]["words"])\n', "")
