"""Where frames come from and go to: capture files."""

from nsdata.capture.info import CaptureInfo, capture_info
from nsdata.capture.pcapfile import Batch, CaptureReader, Interface, open_capture
from nsdata.capture.writer import CaptureWriter

__all__ = [
    "Batch",
    "CaptureInfo",
    "CaptureReader",
    "CaptureWriter",
    "Interface",
    "capture_info",
    "open_capture",
]
