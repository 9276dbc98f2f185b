# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest under load migrates once: the example of tests/lab/README.md.

*Limits*: one guest, one migration; `precopy` has more.
"""

from qlab import l2, migrate
from qlab.context import Lab
from qlab.scenario import Scenario

SCENARIO = Scenario(
    about="the example of tests/lab/README.md: one migration under load",
    time_limit=120,  # seconds, after L1 has booted
    needs=("kvm", "guest-linux"),
    suites=(),  # only when it is asked for by name
    variants={"ring": {"entries": 4096}, "bitmap": {"entries": 0}},
)


def run(lab: Lab, entries: int) -> None:
    """Boot, load, migrate, compare."""
    spec = l2.GuestSpec(lab.qemu, mem=160, ring=entries)
    source = l2.start(lab, spec)
    lab.figures["ready_s"] = round(source.wait_ready(), 1)
    source.payload.start()  # stamp pages, as fast as possible
    destination = l2.start(lab, spec.incoming())
    migrate.begin(lab, source, destination, "unix")  # slow, so that it cannot complete
    lab.check(migrate.wait_syncs(source, 3, 60), "the migration ended too early")
    info = migrate.finish(source)  # no limits any more
    hop = migrate.judge(lab, source, destination, info)  # both oracles
    lab.figures["pages"] = hop.info["ram"]["normal"]
    lab.check(hop.clean, str(hop))
