"""What each rule keyword means: one module per family; importing this registers them all."""

from nsdata.rules.keywords import action, bytes, flow, header, meta, payload, unsupported

__all__ = ["action", "bytes", "flow", "header", "meta", "payload", "unsupported"]
