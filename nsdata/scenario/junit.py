"""Verdicts as JUnit XML: a test suite for each scenario, a test case for each expectation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from xml.etree import ElementTree as ET

from nsdata.output.html import shown
from nsdata.scenario.judge import Verdict
from nsdata.scenario.run import Result

LONGEST_EVIDENCE = 20_000  # characters


def junit(results: Iterable[Result]) -> str:
    """The document. Times are the scenarios' own (virtual seconds), so that runs are alike."""
    root = ET.Element("testsuites", name="nsdata scenarios")
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for result in results:
        suite = _suite(result)
        root.append(suite)
        for name in totals:
            totals[name] += int(suite.get(name, "0"))
    for name, total in totals.items():
        root.set(name, str(total))
    ET.indent(root)
    return "<?xml version='1.0' encoding='utf-8'?>\n" + ET.tostring(root, encoding="unicode") + "\n"


def _suite(result: Result) -> ET.Element:
    verdicts, record = result.verdicts, result.record
    suite = ET.Element(
        "testsuite",
        name=shown(result.scenario.name),
        tests=str(len(verdicts)),
        failures=str(sum(not one.ok for one in verdicts)),
        errors="0",
        skipped=str(sum(bool(one.skipped) for one in verdicts)),
        time=f"{record.seconds(record.end_ns):.3f}",
    )
    for verdict in verdicts:
        suite.append(_case(result, verdict))
    return suite


def _case(result: Result, verdict: Verdict) -> ET.Element:
    name = shown(f"{verdict.number + 1}. {verdict.title}" if verdict.number >= 0 else verdict.title)
    case = ET.Element(
        "testcase", classname=shown(f"nsdata.scenario.{result.scenario.name}"), name=name,
        time="0.000",
    )  # fmt: skip
    if verdict.skipped:
        ET.SubElement(case, "skipped", message=shown(verdict.skipped))
    elif not verdict.ok:
        message = shown(f"expected {verdict.expected}; found {verdict.found}")
        failure = ET.SubElement(case, "failure", type="expectation", message=message)
        failure.text = failure_text(result, verdict)
    return case


def failure_text(result: Result, verdict: Verdict) -> str:
    """Place, expected, found and evidence, line by line."""
    place = result.scenario.place("expect", verdict.number) if verdict.number >= 0 else ""
    evidence = json.dumps(verdict.evidence, indent=1)[:LONGEST_EVIDENCE]
    lines = [
        f"{place or result.scenario.path}: {verdict.title}",
        f"expected: {verdict.expected}",
        f"found: {verdict.found}",
        f"evidence: {evidence}",
    ]
    return "\n".join(shown(line) for line in lines)
