# SPDX-License-Identifier: GPL-2.0-or-later
"""The ring bases of a vhost-vdpa device after a switch, a stop, a failure.

Theory of operation
===================

The device is a fake whose data queues take chains and return them on request (odd-vdpa.c); the guest has no
CPU (qtest_nic.py), and makes chains available one by one.  The used ring is filled with a number that
the device never writes.  If an entry below the used index still has this number, the used index has skipped
a chain.

Both queues are shadowed while the guest migrates (x-svq-tx=on); transmit.py has the default.

    in-flight       five chains of each queue are in flight when a migration begins, when it is cancelled,
                    and when the machine stops: each is returned once, in order
    packed-flight   the two indexes in the base of a packed ring differ, or lie outside the ring
    no-position     GET_VRING_BASE fails
    no-suspend      the device offers SUSPEND, which fails: QEMU resets it instead
    stores          the device stores new ring addresses and bases until RESUME, and SUSPEND ends its
                    control queue's service (as mlx5_vdpa): a switch resets nothing, no chain is lost, and
                    commands are answered
    ignores         the device ignores new ring addresses while it runs: each switch resets it

*Limits*: one ring size; buffers are never written; the device returns chains in order.
"""

import struct
import time
from collections.abc import Sequence
from pathlib import Path

from guest import wait_until
from hostile import BACKEND, BASE, EIO, NO_SUSPEND, PLAIN, SET_MAC, Hostile
from qtest_nic import RING_PACKED

UNWRITTEN = 0xEEEEEEEE
BUFFERS = 0x2100000
#: Memory with contents: more than a migration sends while a test runs.
FULL, FULL_SIZE = 0x3200000, 8 << 20
CHAINS = 5
SIZE = 256
SUSPEND = 0x7D


class Positions(Hostile):
    """:avocado: tags=vdpa,arch:x86_64"""

    always: tuple[str, ...] = ()    # configuration lines that always apply
    netdev = ",x-svq-tx=on"         # options
    migrating: tuple[str, ...] = ("shadow", "shadow")   # kinds of the queues

    def test(self) -> None:
        """Run the case."""
        getattr(self, self.params.get("what", default="in-flight").replace("-", "_"))()

    def start(self, netdev: str = "", device: str = "", generic: bool = False,
              args: Sequence[str] = (), **config: int) -> None:
        """Start a QEMU with the device and the options that always apply."""
        super().start(self.netdev + netdev, device, generic, args, **config)

    def drive(self, refuse: int = 0) -> None:
        """The guest's driver starts the device, with buffers of its own."""
        self.nic.start(refuse, SIZE)
        wait_until("the device runs", self.runs)
        self.available = 0
        for queue in (0, 1):
            for number in range(SIZE):
                self.nic.store(self.nic.rings(queue) + 16 * number, struct.pack(
                    "<QIHH", BUFFERS + 0x1000 * number, 0x800, 0 if queue else 2, 0))
            self.nic.store(self.nic.rings(queue) + 0x2004,
                           struct.pack("<I", UNWRITTEN) * 2 * SIZE)

    def add(self, count: int) -> None:
        """Make COUNT more chains available in each data queue; chain N is descriptor N."""
        for queue in (0, 1):
            ring = self.nic.rings(queue) + 0x1000
            for number in range(self.available, self.available + count):
                self.nic.write(ring + 4 + 2 * number, 2, number)
            self.nic.write(ring + 2, 2, self.available + count)
            self.nic.kick(queue)
        self.available += count

    def used(self, queue: int) -> int:
        """The used index."""
        return self.nic.read(self.nic.rings(queue) + 0x2002, 2)

    def check(self, what: str) -> None:
        """Check that all chains below the used index were returned, in order, and none above it."""
        for queue in (0, 1):
            used = self.used(queue)
            ids = [self.nic.read(self.nic.rings(queue) + 0x2004 + 8 * number, 4)
                   for number in range(self.available)]
            self.assertEqual(ids, [*range(used), *[UNWRITTEN] * (self.available - used)],
                             f"{what}: queue {queue}, used index {used}")

    def log_lines(self, word: str) -> list[str]:
        """The lines of the device's log that begin with WORD."""
        lines = Path(f"{self.what}.log").read_text("ascii").splitlines()
        return [line for line in lines if line.startswith(f"{word} ")]

    def taken(self, since: int) -> int:
        """How many chains the device has taken, without the first SINCE."""
        return len(self.log_lines("take")) - since

    def takes(self, what: str, count: int) -> None:
        """The device takes the COUNT chains of each queue that are available and not used."""
        self.configure()
        wait_until(f"{what}: the device takes {count} chains of each queue",
                   lambda: self.taken(self.seen) >= 2 * count)
        time.sleep(0.05)
        self.assertEqual(self.taken(self.seen), 2 * count, what)
        self.check(what)
        self.seen += 2 * count

    def returns(self, what: str) -> None:
        """The device returns all chains; then five more are in flight."""
        self.configure(serve=1)
        wait_until(f"{what}: all come back",
                   lambda: self.used(0) == self.used(1) == self.available)
        self.check(what)
        self.configure(serve=0)
        self.add(CHAINS)
        self.takes(f"{what}, five more", CHAINS)

    def begin(self) -> None:
        """Start a migration, which switches the queues to shadow rings; it lasts."""
        self.nic.ask(f"memset {FULL:#x} {FULL_SIZE:#x} 0x55")
        self.vm.cmd("migrate-set-parameters", max_bandwidth=1 << 16)
        self.vm.cmd("migrate", uri="exec:cat >/dev/null")
        wait_until("the migration runs", lambda: self.migration() == "active")
        wait_until("the queues are switched", lambda: tuple(self.kinds()[:2]) == self.migrating)

    def cancel(self) -> None:
        """Cancel it, which switches them back."""
        self.vm.cmd("migrate_cancel")
        wait_until("the migration ends", lambda: self.migration() == "cancelled")
        wait_until("the queues are switched back", lambda: self.kinds()[:2] == ["passthrough"] * 2)

    def life(self) -> None:
        """Switch to shadow rings and back, twice, and stop in each mode, with chains in flight."""
        self.seen = 0
        self.drive()
        self.add(CHAINS)
        self.takes("at first", CHAINS)
        for turn in range(2):
            self.begin()
            self.takes(f"there {turn}", CHAINS)
            self.returns(f"there {turn}")
            self.pause(f"shadow {turn}")
            self.cancel()
            self.takes(f"back {turn}", CHAINS)
            self.returns(f"back {turn}")
            self.pause(f"passthrough {turn}")
        self.end()

    def pause(self, what: str) -> None:
        """`stop` and `cont`."""
        self.vm.cmd("stop")
        self.check(f"{what}, stopped")
        self.vm.cmd("cont")
        wait_until("the device runs", self.runs)
        self.takes(f"{what}, stopped and on again", CHAINS)
        self.returns(what)

    def in_flight(self) -> None:
        """A device that can suspend, and one that cannot."""
        for backend in (BACKEND, NO_SUSPEND):
            self.start(features=PLAIN, backend=backend, take=1)
            self.life()

    def no_position(self) -> None:
        """GET_VRING_BASE fails."""
        self.start(features=PLAIN, take=1, silent=1)
        self.life()

    def no_suspend(self) -> None:
        """Each switch and each stop resets the device; no migration fails."""
        self.always = (f"fail {SUSPEND:#x} {EIO}",)
        self.start(features=PLAIN, take=1)
        self.life()

    def serves(self, what: str) -> None:
        """Chains are returned, and the device answers a command."""
        self.add(CHAINS)
        wait_until(f"{what}: all come back",
                   lambda: self.used(0) == self.used(1) == self.available)
        self.check(what)
        commands = len(self.log_lines("command"))
        self.assertEqual(self.nic.command(SET_MAC), 0, what)
        self.assertEqual(len(self.log_lines("command")), commands + 1, what)

    def switches(self, how: str) -> int:
        """Switch to shadow rings and back, twice, with chains in between; how many resets that took."""
        self.start(take=1, **{how: 1})
        self.drive()
        self.configure(serve=1)
        self.serves("at first")
        before = self.info()["resets"]
        for turn in range(2):
            self.begin()
            self.serves(f"there {turn}")
            self.cancel()
            self.serves(f"back {turn}")
        resets = self.info()["resets"] - before
        self.vm.cmd("stop")
        self.check("stopped")
        self.end()
        return int(resets)

    def stores(self) -> None:
        """No switch resets the device."""
        self.assertEqual(self.switches("store"), 0)

    def ignores(self) -> None:
        """Each of the four switches resets the device."""
        self.assertGreaterEqual(self.switches("ignore"), 4)

    def configure(self, *lines: str, **values: int) -> None:
        """Change the configuration; keep the lines that always apply."""
        super().configure(*self.always, *lines, **values)
        if "serve" in values:
            wait_until("the device has read its configuration", lambda: self.log_lines("serve")[-1:]
                       == [f"serve {values['serve']}"])

    def packed_flight(self) -> None:
        """The device has taken 7 and returned 5; then, an index beyond the ring's size."""
        for base, goes_on in ((0x80058007, 0x80058005), (0x80050007, 0x80058005), (0x00050005, 0x00050005)):
            self.start(device=",packed=on", features=PLAIN | 1 << RING_PACKED, base=base)
            self.drive()
            self.vm.cmd("stop")
            self.vm.cmd("cont")
            wait_until("the device runs", self.runs)
            self.assertEqual(self.calls("set", BASE)[-2:], [(0, goes_on), (1, goes_on)])
            self.end()
        self.start(device=",packed=on", features=PLAIN | 1 << RING_PACKED, base=0x81008100)
        self.drive()
        self.vm.cmd("stop")
        self.vm.cmd("cont")
        wait_until("the device runs", self.runs)
        for _, position in self.calls("set", BASE)[-2:]:
            self.assertLess(position & 0x7FFF, SIZE)
        self.end()
