"""Where frames come from and go to: capture files."""

from nsdata.capture.pcapfile import Batch, CaptureReader, Interface, open_capture

__all__ = [
    "Batch",
    "CaptureReader",
    "Interface",
    "open_capture",
]
