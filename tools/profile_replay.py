"""What tools/profile.sh runs under callgrind, and how its counts are shown.

    profile_replay.py run SWITCH.so CAPTURE [RULES] [PACKETS] [PERCENT]
    profile_replay.py report INCLUSIVE SELF

`run` replays up to PACKETS frames; instructions are counted from the first batch to the last
line of EVE. With PERCENT the golden model's verdicts (offload.leave-common=PERCENT) are worked out
before and given for free. `report` reads two outputs of callgrind_annotate.
"""

from __future__ import annotations

import ctypes
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

# Stages by C function (as Cython names them), in the order a packet meets them. A stage's
# cost is that of its functions and of all they call.
STAGES = (
    ("decode", r"decode_decode_frame$|decode_decode_datagram$"),
    ("defrag", r"6Defrag_add$"),
    ("bypass rules", r"bypass_first_match$"),
    ("flow", r"9FlowTable_(lookup|wants|reuse|timed_out|oldest|release|any)$"),
    ("stream", r"13StreamTracker_(packet|inspected|flush|free)$"),
    ("detect", r"8Detector_run$"),
    ("  of it Hyperscan", r"^(?:\w+_)?hs_scan$"),
    ("  of it rule evaluation", r"8Detector__evaluate$"),
    ("verdict", r"8Verdicts_decide$"),
    ("records", r"7Records_(packet|payload|frame|flow_end)$"),
    ("EVE", r"format_array$|_format_array"),
)
PACKETS = Path("out/callgrind.packets")


def judged(capture: str, packets: int, loaded: Any, engine: Any, percent: float) -> list[Any]:
    """The model's verdicts, an array for each batch; the engine is told what they cover."""
    from nsdata.capture import open_capture
    from nsdata.config.offload import OffloadSettings
    from nsdata.offload.session import ModelOffload, Session, image_for

    block = ModelOffload()
    image = image_for(loaded, (), percent)
    Session(block, OffloadSettings()).attach(engine, loaded, image)
    result: list[Any] = []
    with open_capture(capture) as reader:
        for batch in reader.batches():
            result.append(block.inspect(batch))
            if sum(map(len, result)) >= packets:
                break
    said = np.concatenate(result)
    print(f"{(said == 1).mean():.1%} of {len(said)} frames are CLEAR, image {image.table.shape}")
    return result


def run(
    switch: str, capture: str, rules: str | None, packets: int, percent: float | None
) -> None:
    from nsdata import LoadedRules, Pipeline, Settings, build_engine, load_rules
    from nsdata.capture import open_capture
    from nsdata.fallback.guard import Guard
    from nsdata.output.events import EveWriter

    library = ctypes.CDLL(switch)
    settings = Settings()
    loaded = LoadedRules.build(load_rules([Path(rules)] if rules else [], settings), settings)
    engine = build_engine(loaded, settings)
    eve = EveWriter(None, [str(t) for t in settings.outputs.eve.types])
    pipeline = Pipeline(engine, Guard.build(settings.drop_meter.build()), eve)
    pipeline.set_rules(loaded.fragments, loaded.sids)
    done = 0
    given = None if percent is None else judged(capture, packets, loaded, engine, percent)
    with open_capture(capture) as reader:
        library.start()
        for batch in reader.batches():
            if given is None:
                pipeline.feed(batch)
            else:
                verdicts = np.zeros(len(batch), np.uint8)
                pipeline._run(batch, verdicts, given.pop(0))
            done += len(batch)
            if done >= packets:
                break
        pipeline.finish()
        eve.flush()
        library.stop()
    PACKETS.write_text(json.dumps(done))


LINE = re.compile(r"^\s*([\d,]+) \([^)]*\)\s+(?:\S*?:)?(.*?)(?: \[(.*)\])?$")


def rows(path: str) -> list[tuple[int, str, str]]:
    """(instructions, function, object file) of an output of callgrind_annotate."""
    result = []
    for line in Path(path).read_text(errors="replace").splitlines():
        found = LINE.match(line)
        if found:
            where = (found.group(3) or "").rsplit("/", 1)[-1]
            result.append((int(found.group(1).replace(",", "")), found.group(2), where))
    return result


def short(function: str) -> str:
    return re.sub(r"^__pyx_[a-z]+_6nsdata_\d[a-z]+_\d+", "", function)


def report(inclusive: str, own: str) -> None:
    packets = json.loads(PACKETS.read_text())
    total = next(count for count, name, _ in rows(own) if name == "PROGRAM TOTALS")
    print(f"{packets} packets, {total / packets:,.0f} instructions each\n")
    print(f"{'stage':28}{'per packet':>12}{'share':>9}")
    for stage, pattern in STAGES:
        functions: dict[str, int] = {}
        for count, name, _ in rows(inclusive):
            bare = name.split("'")[0]
            if re.search(pattern, bare):
                functions[bare] = max(functions.get(bare, 0), count)
        cost = sum(functions.values())
        print(f"{stage:28}{cost / packets:12,.1f}{cost / total:9.1%}")
    print(f"\n{'function (itself)':64}{'per packet':>12}{'share':>9}")
    for count, name, where in [r for r in rows(own) if r[1] != "PROGRAM TOTALS"][:25]:
        label = f"{short(name)} [{where}]"
        print(f"{label[:63]:64}{count / packets:12,.1f}{count / total:9.1%}")


def main(argv: list[str]) -> None:
    if argv[:1] == ["run"]:
        rules = argv[3] if len(argv) > 3 and argv[3] else None
        packets = int(argv[4]) if len(argv) > 4 else 60_000
        run(argv[1], argv[2], rules, packets, float(argv[5]) if len(argv) > 5 else None)
    else:
        report(argv[1], argv[2])


if __name__ == "__main__":
    main(sys.argv[1:])
