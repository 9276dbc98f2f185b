# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest migrates between two simulated vDPA devices while numbered frames go round.

The steps and what they check: qlab/vdpasteps.py.  The simulators drop nothing as long as their receive
queues have buffers, so no frame may be missing.  `ring`, `pages` and `short` fail if the device's writes are
not reported (seen with a build that did not).  `to-stock` and `from-stock` have the base's own QEMU at the
other end.  Stock QEMU at the source resets the device when a migration begins: `lost_by_stock` counts the frames that
are missing then, and none may be missing afterwards.

`cancel` and `killed`: after each migration that did not complete, the device must be back in passthrough
with frames flowing, and the switches must have cost no reset and no map.

`no-pin` migrates to destinations that may not pin the guest's memory: they must not take the guest, and the
guest must not notice (qlab/vdparefuse.py).  The last destination may pin it only after it has failed to.  With
stock QEMU at the source, `lost_by_stock` is as in `from-stock` (0, 5 and 24 of some 180 in three runs).

`postcopy-offered` enables postcopy, and completes before it is used: the destination has discarded all of
its memory once, so it must not have mapped the memory for the device before.
`postcopy` uses it: the guest runs at the destination while its memory still comes.  Its link stands still
until all memory is there, and then no frame is missing.  Meanwhile its driver is asked to announce it, and
spins until QEMU acknowledges that, which it does while the device waits (vdpaflow.wait_announced()).

*Limits*: those of qlab/vdpasteps.py.
"""

from qlab.scenario import Scenario
from qlab.vdparefuse import MEMLOCK
from qlab.vdpasteps import (  # noqa: F401
    CANCEL, END_MIGRATION, FINISH, MIGRATE, MIGRATE_FROM_STOCK, START_MIGRATION, Boot, Capabilities,
    CheckPassthrough, CompleteByPostcopy, Refuse, ReleaseFrames, StartDestination, kill_steps, repeat, run,
    with_frames)

CANCELLED = (*CANCEL, CheckPassthrough(rings_mapped=True))
POSTCOPY = (StartDestination(), Capabilities(("postcopy-ram",)), *START_MIGRATION)
PIN_LATER = (StartDestination(memlock=MEMLOCK), *START_MIGRATION, *END_MIGRATION)
PIN_LATER_FROM_STOCK = (StartDestination(memlock=MEMLOCK), *MIGRATE_FROM_STOCK[1:])
NO_PIN = tuple(step for how in ("exits", "stays", "return-path", "postcopy", "unused")
               for step in (Refuse(how), CheckPassthrough()))

SCENARIO = Scenario(
    about="vhost-vdpa: live migration, there and back, with traffic",
    time_limit=600,
    needs=("kvm", "guest-linux", "kernel-modules", "ours", "stock"),
    suites=("full", "vdpa"),
    own_binaries=True,
    variants={
        "": with_frames(Boot(), repeat(4, MIGRATE)),
        "pages": with_frames(Boot(mtu=9000), repeat(2, MIGRATE)),
        "short": with_frames(Boot(mtu=9000), MIGRATE),
        "many": with_frames(Boot(), repeat(20, MIGRATE)),
        "svq": with_frames(Boot(svq=True), repeat(2, MIGRATE)),
        "mq": with_frames(Boot(pairs=2, cpus=2), repeat(2, MIGRATE)),
        "ring": with_frames(Boot(ring=4096, mtu=9000), repeat(2, MIGRATE)),
        "cancel": with_frames(Boot(), repeat(5, CANCELLED), MIGRATE),
        "cancel-many": with_frames(Boot(), repeat(50, CANCELLED), MIGRATE),
        "killed": with_frames(Boot(), kill_steps(10), MIGRATE),
        "no-pin": with_frames(Boot(), NO_PIN, PIN_LATER),
        "no-pin-from-stock": with_frames(Boot(source="stock"), (Refuse("exits"),), PIN_LATER_FROM_STOCK),
        "postcopy-offered": with_frames(Boot(), POSTCOPY, END_MIGRATION),
        "postcopy": with_frames(Boot(), POSTCOPY, (CompleteByPostcopy(), ReleaseFrames())),
        "to-stock": with_frames(Boot(peer="stock"), MIGRATE),
        "from-stock": with_frames(Boot(source="stock"), MIGRATE_FROM_STOCK),
    },
    short=("short",),
)
