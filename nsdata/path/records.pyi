class Records:
    clipped: int
    overflowed: int
    def __init__(
        self, keep_payload: bool = True, keep_packet: bool = True, max_payload: int = 4096
    ) -> None: ...
    def view(self) -> tuple[memoryview, memoryview]: ...
