# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's drawings are on its screen, before, during and after a migration.

The display asks the dirty log which lines to redraw, whether a migration runs or not;
with a ring, only the ring knows.  The guest fills rows of a frame buffer that QEMU has
to convert (tests/lab/guest/hw.h), a load keeps the ring busy, and every screen dump must
show everything that was drawn so far.

*Limits*: the standard VGA, eight bits a pixel.
"""

import random

from qlab import l2, migrate
from qlab.context import Lab
from qlab.qmpnames import QUERY_DIRTY_RING
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="the screen shows what was drawn, with the ring, during a migration",
    time_limit=240,
    needs=("kvm", "guest-linux"),
    suites=("full",),
    modes=("tdp",),
    short=("ring",),
    variants={"ring": {"ring": 1024}, "bitmap": {"ring": 0}},
)

WIDTH, HEIGHT = 1024, 256  # four rows a page
ROUNDS = 12
FIRST_PASS = 4 << 20  # bytes a second: the rounds end before the first pass


def dump(lab: Lab, guest: l2.Guest) -> list[int]:
    """The grey of each row on the screen; -1 for a row of several."""
    path = lab.tmp / "screen.ppm"
    guest.qmp.cmd("screendump", {"filename": str(path)})
    data = path.read_bytes()
    head = f"P6\n{WIDTH} {HEIGHT}\n255\n".encode()
    lab.check(data.startswith(head), f"another picture: {data[:20]!r}")
    row = WIDTH * 3
    rows = [data[len(head) + y * row:len(head) + (y + 1) * row] for y in range(HEIGHT)]
    return [line[0] if line == line[:1] * row else -1 for line in rows]


class Screen:
    """What ought to be seen."""

    def __init__(self, lab: Lab, dice: random.Random) -> None:
        self.lab, self.dice = lab, dice
        self.rows = [0] * HEIGHT

    def draw(self, guest: l2.Guest, grey: int) -> None:
        """A block of rows in this grey."""
        first = self.dice.randrange(HEIGHT)
        count = self.dice.randrange(1, min(24, HEIGHT - first) + 1)
        guest.payload.ask(f"hw fill {first} {count} {grey}", "hw")
        self.rows[first:first + count] = [grey] * count

    def look(self, guest: l2.Guest, when: str) -> None:
        """The dump is what was drawn."""
        seen = dump(self.lab, guest)
        wrong = [y for y, grey in enumerate(self.rows) if seen[y] != eight_bits(grey)]
        self.lab.check(not wrong, f"{when}: rows {wrong[:8]} of {len(wrong)} are old")

    def rounds(self, guest: l2.Guest, when: str) -> None:
        """Draw, look, draw, ..."""
        for _ in range(ROUNDS):
            self.draw(guest, self.dice.randrange(1, 64))
            self.look(guest, when)


def eight_bits(grey: int) -> int:
    """A six-bit colour of the VGA's palette as QEMU shows it."""
    return grey << 2 | (grey & 1) * 3


def count_syncs(guest: l2.Guest) -> int:
    """How often all rings were released for a sync."""
    return int(guest.qmp.cmd(QUERY_DIRTY_RING)["syncs"])


def run(lab: Lab, ring: int) -> None:
    """Draw at home, on the way, and there."""
    spec = l2.GuestSpec(lab.qemu, mem=160, cpus=2, ring=ring, extra=("-vga", "std"))
    guest = l2.start(lab, spec)
    guest.wait_ready()
    screen = Screen(lab, random.Random(1))
    guest.payload.ask(f"hw vga {WIDTH} {HEIGHT}", "hw")
    screen.look(guest, "at first")
    screen.rounds(guest, "before")
    destination = l2.start(lab, spec.incoming())
    guest.payload.start()
    screen.rounds(guest, "under load")
    migrate.begin(lab, guest, destination, "unix", bandwidth=FIRST_PASS)
    migrate.wait_syncs(guest, 1, 60)
    syncs = count_syncs(guest) if ring else 0
    screen.rounds(guest, "while it migrates")
    lab.check(migrate.query(guest)["status"] == "active", "it had ended before")
    if ring:
        more = count_syncs(guest) - syncs
        lab.check(more == 0, f"{more} of {ROUNDS} refreshes have synced all of memory")
    migrate.limits(guest, migrate.SLOW, 1)
    migrate.wait_syncs(guest, 3, 90)
    result = migrate.judge(lab, guest, destination, migrate.finish(guest))
    lab.figures.update(result.figures())
    lab.check(result.clean, f"{result}")
    screen.look(destination, "there")
    guest.quit()
    screen.rounds(destination, "afterwards")
