"""Marks and order of the simulation's tests."""

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """`full`: not in the representative part (make sim); NSDATA_FULL=1 runs it too."""
    config.addinivalue_line("markers", "full: only with NSDATA_FULL=1 (make sim-full)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `full`, unless asked for."""
    if os.environ.get("NSDATA_FULL", "") not in ("", "0"):
        return
    skip = pytest.mark.skip(reason="part of make sim-full")
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker(skip)
