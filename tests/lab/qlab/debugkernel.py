# SPDX-License-Identifier: GPL-2.0-or-later
"""The debug kernel in L1: its name, its costs, and its checks at the end of a scenario.

Theory of operation
===================

"6.1-debug" (scripts/build-debug-kernel) counts as 6.1 in all decisions of a scenario: `lab.kernel` and `not_on`
have the base version.  Only the host and inside.py know of it.  Nested guests run Debian's 6.1.

KASAN, lockdep and the checks for sleeping in atomic context write to the kernel log at once, and
klog.py reads it.  At the end of a scenario, when all its processes have ended, check() asks two of them:

    kmemleak    its own scans are off.  It reports an object that is older than five seconds after two
                scans have found no pointer to it, so there are two scans after a wait; its report
                is kmemleak.log.
    lockdep     it switches itself off at its first report, and when its tables are full

KASAN finds what the slab allocator's own redzones and poison find, so scenarios with those run
without them here: both together take too long.  For the same reason stalls are reported later.

check() writes complaints to the kernel log as errors, so klog.py finds all of them.  Objects that were lost in
L1's boot fail a scenario as well.

KNOWN_REPORTS names reports about Linux itself, by functions that all have to be in them; these are ignored.
lockdep is off after its first report and reports nothing more in that scenario.

*Limits*: kmemleak sees pointers in memory only, and takes any word with an object's address for one.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

SUFFIX = "-debug"
#: It takes so many times as long as Debian's kernel.
SLOWER = 4.0
#: MiB of L1's memory that KASAN's shadow, lockdep's tables and kmemleak's objects take.
MORE_MEMORY = 1024
#: Seconds that the checks at the end may take.
END = 240

#: Words that are left out of what a scenario adds to L1's command line.
NOT_NEEDED = ("slub_debug=", "page_poison=")
#: Half the seconds that a CPU may be busy before the kernel reports it.
WATCHDOG_S = 60
#: Words for L1's command line: how long a CPU may be busy, or RCU wait, before the kernel reports it.
APPEND = f"watchdog_thresh={WATCHDOG_S} rcupdate.rcu_cpu_stall_timeout=120 workqueue.watchdog_thresh=120"
#: Seconds that a task may be blocked.
HUNG_TASK = 240

#: Functions in reports about the base's own code, each with what it is.
KNOWN_REPORTS = {
    ("virtnet_probe", "msi_get_virq", "intel_iommu_init"):
        "virtio-net asks for a PCI interrupt's number, which takes the device's MSI mutex, with CPU "
        "hot-plug locked; the Intel IOMMU's start takes both in the other order",
}
#: The same of objects that are lost.
KNOWN_LEAKS = {
    ("virtqueue_add_split", "virtnet_send_command"):
        "virtio-net does not take back the descriptor table of a control command that waits when the device goes",
}
REPORT = re.compile(r"WARNING: possible circular locking dependency detected.*?stack backtrace:", re.DOTALL)

WATCHDOG = Path("/proc/sys/kernel/watchdog_thresh")
DEBUGFS = Path("/sys/kernel/debug")
#: Seconds after which kmemleak reports an object.
AGE = 5


def is_debug(kernel: str) -> bool:
    """Whether a kernel version is the debug kernel's."""
    return kernel.endswith(SUFFIX)


def base(kernel: str) -> str:
    """The version that a kernel behaves like."""
    return kernel.removesuffix(SUFFIX)


def append(words: str) -> str:
    """L1's command line for a scenario that adds WORDS to it."""
    kept = [word for word in words.split() if not word.startswith(NOT_NEEDED)]
    return " ".join(kept + APPEND.split())


def without_known_reports(log: str) -> str:
    """A kernel log without the reports that KNOWN_REPORTS names."""
    def kept(report: re.Match[str]) -> str:
        known = any(all(name in report[0] for name in names) for names in KNOWN_REPORTS)
        return "" if known else report[0]

    return REPORT.sub(kept, log)


def leaks(report: str) -> list[str]:
    """The first line of each object in kmemleak's report; not of those that KNOWN_LEAKS names."""
    found = re.split(r"^(?=unreferenced object)", report, flags=re.MULTILINE)[1:]
    return [lost.splitlines()[0].strip() for lost in found
            if not any(all(name in lost for name in names) for names in KNOWN_LEAKS)]


def lockdep_is_off(stats: str) -> bool:
    """Whether /proc/lockdep_stats says that lockdep looks no longer."""
    words = [line.split() for line in stats.splitlines() if "debug_locks" in line]
    return words != [["debug_locks:", "1"]]


def check_kmemleak(out: Path) -> list[str]:
    """Scan, read, keep the report; complaints.  A scan may hold a CPU for longer than a scenario's watchdog allows."""
    kmemleak = DEBUGFS / "kmemleak"
    try:
        WATCHDOG.write_text(str(WATCHDOG_S), "ascii")
        time.sleep(AGE + 1)
        for _ in range(2):
            kmemleak.write_text("scan", "ascii")
        report = kmemleak.read_text("utf-8", errors="replace")
    except OSError as err:
        return [f"kmemleak cannot be asked: {err}"]
    (out / "kmemleak.log").write_text(report, "utf-8")
    found = leaks(report)
    return [f"kmemleak: {len(found)} objects are lost, the first: {found[0]}"] if found else []


def check_lockdep() -> list[str]:
    """A complaint, if lockdep is off for another reason than a known report."""
    try:
        stats = Path("/proc/lockdep_stats").read_text("ascii")
        log = subprocess.run(["dmesg"], check=True, text=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError) as err:
        return [f"lockdep cannot be asked: {err}"]
    if without_known_reports(log) != log:
        return []
    return ["lockdep has switched itself off"] if lockdep_is_off(stats) else []


def check(out: Path) -> None:
    """Run both checks; their complaints go to the kernel log."""
    if not DEBUGFS.is_mount():
        subprocess.run(["mount", "-t", "debugfs", "none", str(DEBUGFS)], check=True)
    for complaint in check_lockdep() + check_kmemleak(out):
        Path("/dev/kmsg").write_text(f"<3>lab: BUG: {complaint}\n", "utf-8")
