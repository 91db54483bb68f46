"""Support reports of an appliance: how much is in one, and where it may go.

[support]
allow = ["169.254.10.0/24"]          # networks that are fine though they would be refused
[support.vendor]
url = "https://support.example/in/"  # the report's name is added
latest = "https://support.example/latest.json"
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Self

from pydantic import field_serializer, field_validator

from nsdata.config.group import Group, of
from nsdata.config.values import DurationNs, Size
from nsdata.errors import SettingError
from nsdata.support.archive import SMALLEST
from nsdata.support.connection import Ways
from nsdata.support.upload import UploadPolicy
from nsdata.support.url import below, split

SECOND_NS = 1_000_000_000
SAMPLE_NAME = "nsdata-support-" + "x" * 50 + ".tar.gz"  # about as long as those that are made


class VendorSettings(Group):
    """The vendor's endpoint."""

    url: str | None = of(None, "where to: the name of the report is added to its path")
    latest: str | None = of(None, 'URL or file that names the latest version: {"version": "1.4.2"}')

    @field_validator("url")
    @classmethod
    def _is_a_place(cls, value: str | None) -> str | None:
        try:
            if value:
                below(value, SAMPLE_NAME)
        except SettingError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("latest")
    @classmethod
    def _is_readable(cls, value: str | None) -> str | None:
        try:
            if value and "://" in value:
                split(value)
        except SettingError as error:
            raise ValueError(str(error)) from None
        return value


class SupportSettings(Group):
    """Support reports."""

    directory: str = of("reports", "where they are kept; relative: in the appliance's")
    keep: int = of(5, "so many of them, the newest", ge=1, le=1000)
    max_size: Size = of("64mb", "of a report; parts that find no room are named", ge=SMALLEST)
    log_size: Size = of("1mb", "of the log's end in it", le=1 << 28)
    eve_size: Size = of("4mb", "of the EVE file's end in it", le=1 << 30)
    packets: int = of(200, "frames of a sample, where one is asked for", ge=1, le=10_000)
    allow: tuple[str, ...] = of((), "networks it may go to though they would be refused")
    ca_file: str | None = of(None, "certificates to trust in place of the system's")
    timeout: DurationNs = of("30s", "without a byte taken, or an answer", ge=SECOND_NS // 10)
    attempt: DurationNs = of("30m", "one attempt to send, all in all", ge=SECOND_NS // 10)
    attempts: int = of(5, "to send it", ge=1, le=100)
    back_off: DurationNs = of("1s", "before the second attempt; doubles", ge=0, le=3600 * SECOND_NS)
    vendor: VendorSettings = VendorSettings()

    @field_validator("allow")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            ipaddress.ip_network(one)
        return value

    @field_serializer("timeout", "attempt", "back_off", when_used="json")
    def _with_unit(self, value: int) -> str:
        return f"{value}ns"

    def absolute(self, base: Path, directory: Path) -> Self:
        """The paths in it made absolute: of settings from `base`, of reports in `directory`."""
        latest = self.vendor.latest
        if latest and "://" not in latest:
            latest = str(base / latest)
        return self.model_copy(update={
            "directory": str(directory / self.directory),
            "ca_file": self.ca_file and str(base / self.ca_file),
            "vendor": self.vendor.model_copy(update={"latest": latest}),
        })  # fmt: skip

    def ways(self) -> Ways:
        """How connections are made."""
        allowed = tuple(map(ipaddress.ip_network, self.allow))
        return Ways(timeout_s=self.timeout / SECOND_NS, allowed=allowed, ca_file=self.ca_file)

    def upload(self) -> UploadPolicy:
        """How long a report is tried to be sent."""
        return UploadPolicy(
            self.ways(), self.attempt / SECOND_NS, self.attempts, self.back_off / SECOND_NS
        )
