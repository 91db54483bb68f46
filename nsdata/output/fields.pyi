PROTOCOL_NAMES: tuple[str, ...]
POLICY_REASONS: tuple[str, ...]
TCP_STATES: tuple[str, ...]
