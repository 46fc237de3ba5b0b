"""What one client was given of one stream."""


class Account:
    """A client's side of a stream.

    Attributes:
        at: its position.
        stretches: ``[(start, [(position, value), ...]), ...]``: the server has said of each that it
            begins here, and that something was lost, or unknown, before.
        unplaced: values that came without a position.
    """

    def __init__(self):
        self.at = None
        self.stretches = []
        self.unplaced = []

    def begin(self, position):
        """What follows begins here."""
        self.at = position
        self.stretches.append((position, []))

    def take(self, value, position):
        """A message came."""
        if position is None:
            self.unplaced.append(value)
        else:
            self.at = position
            self.stretches[-1][1].append((position, value))

    def faults(self, kept, journal):
        """Return what is wrong, by what Redis keeps and what was published."""
        found = [fault for start, given in self.stretches for fault in kept.faults(start, given)]
        placed = [value for _, given in self.stretches for _, value in given]
        for values, is_placed in ((placed, True), (self.unplaced, False)):
            found += journal.faults(kept.stream, values, is_placed=is_placed)
        return found
