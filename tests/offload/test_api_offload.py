"""nsdata.Engine with the block beside it: the same verdicts and alerts, reload, errors, restore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import traffic

from nsdata import Engine, NsdataError, SettingError, Settings
from nsdata.errors import FpgaError, OffloadError
from nsdata.fallback.reasons import Reason, State
from nsdata.offload import registers as reg
from nsdata.offload.driven import DrivenOffload
from nsdata.offload.registers import ErrorClass
from nsdata.offload.transport import open_transport

RULES = 'drop udp any any -> any any (content:"needle"; sid:1;)'
OTHER = 'drop udp any any -> any any (content:"brandnew"; sid:2;)'
FRAMES = [traffic.udp(b"needle"), traffic.udp(b"calm"), traffic.udp(b"brandnew")] * 50


def said(engine: Engine) -> dict[str, Any]:
    session = engine.pipeline.offload
    assert session is not None
    return dict(session.stats())


def alerts(engine: Engine) -> list[int]:
    return [e["alert"]["signature_id"] for e in engine.events() if e["event_type"] == "alert"]


@pytest.mark.parametrize("offload", ["model", "model:64"])
def test_the_same_with_a_block(offload: str) -> None:
    plain = Engine(RULES, inline=True)
    with Engine(RULES, inline=True, offload=offload) as engine:
        wanted = plain.inspect(FRAMES, traffic.START_NS).tolist()
        assert engine.inspect(FRAMES, traffic.START_NS).tolist() == wanted
        engine.idle()
        assert alerts(engine) == alerts(plain) == [1] * 50
        assert said(engine)["verdicts"]["clear"] == 100
        assert engine.ledger == plain.ledger


@pytest.mark.parametrize("offload", ["model", "model:64"])
def test_reload_loads_the_block(offload: str) -> None:
    """Frames that the old tables call clear must be found by the new rules, and be spared no
    longer than they are clear."""
    with Engine(RULES, inline=True, offload=offload) as engine:
        engine.inspect(FRAMES, traffic.START_NS)
        assert alerts(engine) == [1] * 50
        engine.reload(OTHER)
        assert engine.inspect(FRAMES, traffic.START_NS + 1).tolist() == [0, 0, 1] * 50
        assert alerts(engine) == [2] * 50
        figures = said(engine)
        assert figures["verdicts"]["clear"] == 200
        if offload != "model":  # which is what it would be checked against
            assert figures["checks"] and not figures["disagreements"]
        assert figures["active"] and engine.state is State.NORMAL


def test_a_reload_that_does_not_fit_changes_nothing() -> None:
    many = "\n".join(
        f'alert udp any any -> any any (content:"{i * 0x9E3779B9 % 2**32:08x}"; sid:{i + 1};)'
        for i in range(200)
    )
    with Engine(RULES, inline=True, offload="model:64,BUCKETS_LOG2=5") as engine:
        with pytest.raises(OffloadError, match="do not fit"):
            engine.reload(many)
        assert engine.inspect(FRAMES[:3], traffic.START_NS).tolist() == [1, 0, 0]
        assert said(engine)["verdicts"]["clear"] == 2


def test_an_error_of_the_block_and_a_restore() -> None:
    transport = open_transport("model:64")
    with Engine(RULES, inline=True, offload=DrivenOffload(transport)) as engine:
        engine.inspect(FRAMES, traffic.START_NS)
        transport.write(reg.ERR_INJECT.address, 1 << ErrorClass.SEU)
        engine.idle()
        assert engine.state is State.FALLBACK
        [entered] = engine.pipeline.transitions
        assert entered.reason is Reason.FPGA
        assert entered.evidence["given"]["fpga"]["class"] == "SEU"
        assert set(engine.inspect(FRAMES, traffic.START_NS + 1).tolist()) == {0}
        engine.restore()
        assert engine.state is State.NORMAL
        engine.reload(OTHER)
        assert engine.inspect(FRAMES[:3], traffic.START_NS + 2).tolist() == [0, 0, 1]
    with pytest.raises(FpgaError):
        transport.read(0)  # close let go of it


def test_tables_from_a_file_and_misuse(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="without offload"):
        Engine(RULES, offload_image=tmp_path / "x")
    with pytest.raises(SettingError, match="legal are model"):
        Engine(RULES, offload="card")
    with pytest.raises(NsdataError, match="cannot be read"):
        Engine(RULES, offload="model", offload_image=tmp_path / "x")
    from nsdata.offload.image import compile_image
    from nsdata.offload.patterns import from_list

    image = tmp_path / "other.nsd"
    image.write_bytes(compile_image(from_list([(b"nothing", False)])).to_bytes())
    settings = Settings.load(sets=["offload.check-share=0"])
    engine = Engine(RULES, settings=settings, offload="model", offload_image=image)
    engine.inspect(FRAMES, traffic.START_NS)
    assert json.loads(json.dumps(said(engine)))["rules_covered"] == 0
    assert alerts(engine) == [1] * 50  # tables that do not cover the rules spare nothing
