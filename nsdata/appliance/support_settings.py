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

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator

from nsdata.config_values import DurationNs, Size
from nsdata.errors import SettingError
from nsdata.support.archive import SMALLEST
from nsdata.support.connection import Ways
from nsdata.support.upload import UploadPolicy
from nsdata.support.url import below, split

SECOND_NS = 1_000_000_000
SAMPLE_NAME = "nsdata-support-" + "x" * 50 + ".tar.gz"  # about as long as those that are made


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class VendorSettings(_Part):
    """The vendor's endpoint."""

    url: str | None = None  # a place; the report's name is added to its path
    latest: str | None = None  # a URL, or a file: {"version": "1.4.2"}

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


class SupportSettings(_Part):
    """Support reports."""

    directory: str = "reports"  # in the appliance's
    keep: int = Field(default=5, ge=1, le=1000)  # of them, the newest
    max_size: Size = Field(default="64mb", ge=SMALLEST)  # type: ignore[assignment]
    log_size: Size = Field(default="1mb", le=1 << 28)  # type: ignore[assignment]
    eve_size: Size = Field(default="4mb", le=1 << 30)  # type: ignore[assignment]
    packets: int = Field(default=200, ge=1, le=10_000)  # frames of a sample, where one is asked for
    allow: list[str] = []  # networks
    ca_file: str | None = None  # else the system's
    timeout: DurationNs = Field(default="30s", ge=SECOND_NS // 10)  # type: ignore[assignment]
    attempt: DurationNs = Field(default="30m", ge=SECOND_NS // 10)  # type: ignore[assignment]
    attempts: int = Field(default=5, ge=1, le=100)
    back_off: DurationNs = Field(default="1s", ge=0, le=3600 * SECOND_NS)  # type: ignore[assignment]
    vendor: VendorSettings = VendorSettings()

    @field_validator("allow")
    @classmethod
    def _are_networks(cls, value: list[str]) -> list[str]:
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
