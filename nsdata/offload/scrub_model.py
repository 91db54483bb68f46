"""The pace of the golden model's scrubber: when it has seen a table that is not what was loaded."""

CHECK = 17  # cycles of the check of one entry, beside its words


def pass_cycles(entries: int, words: int) -> int:
    """Cycles of a pass over a table, were there no look-ups in its way."""
    return entries * (words + CHECK)


class Scrubber:
    """Passes that follow one another without a pause; tables by their number."""

    def __init__(self) -> None:
        self.ends: dict[int, int] = {}  # the cycle in which the pass ends that sees it

    def suspect(self, number: int, entry: int, cycle: int, shape: tuple[int, ...]) -> None:
        """An entry of that table (entries, words) changes in this cycle."""
        takes = pass_cycles(*shape)
        passes, at = divmod(cycle, takes)
        seen = at * shape[0] > entry * takes
        self.ends[number] = (passes + 1 + seen) * takes

    def ended(self, cycle: int) -> list[int]:
        """The tables to be compared now."""
        found = [number for number, at in self.ends.items() if cycle >= at]
        for number in found:
            del self.ends[number]
        return found
