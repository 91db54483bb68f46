"""Marks and order of the simulation's tests."""

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """`full`: not in the representative part (make sim); NSDATA_FULL=1 runs it too."""
    config.addinivalue_line("markers", "full: only with NSDATA_FULL=1 (make sim-full)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `full`, unless asked for."""
    if os.environ.get("NSDATA_FULL", "") not in ("", "0"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
