# SPDX-License-Identifier: GPL-2.0-or-later
"""Every ioctl of /dev/vhost-vdpa-N in every state, with good and bad arguments.

Theory of operation
===================

tests/kernel/exerciser is built inside L1 and run on a simulated network card, with redzones,
poisoning and consistency checks on in the slab allocator.  It prints TAP; each line that is not ok
is in the log, and one fails the scenario.  What it does to the kernel is seen by the kernel, whose
reports fail the scenario as they do any.

    tree          the simulator takes mappings as a whole tree (set_map)
    incremental   it takes them one by one (dma_map)

On kernel 6.12 the driver under test is that kernel's own vhost_vdpa, under our simulator: an
independent implementation, from which ours differs where the exerciser's tables say so.  Its reports
about itself are its own affair, and the parts that would wait for it are skipped.

*Limits*: vhost_vdpa has to be the only driver on the bus, so virtio_vdpa is not loaded.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from qlab.context import Lab
from qlab.scenario import Scenario

TOP = Path(__file__).resolve().parents[3]
SOURCE = TOP / "tests" / "kernel" / "exerciser"
DOC = TOP / "docs" / "vhost-vdpa-ioctls.md"
MARKER = "<!-- tables -->\n"

DEBUGFS = Path("/sys/kernel/debug")

SCENARIO = Scenario(
    about="the exerciser of the vhost-vdpa character device",
    time_limit=420,
    needs=("kernel-modules",),
    suites=("full",),
    append="slub_debug=FZPU",
    own_binaries=True,
    variants={"tree": {}, "incremental": {"batch_mapping": False}},
)


def build(lab: Lab) -> Path:
    """The exerciser: as it was built outside, if that is current; compiled here otherwise."""
    out = lab.tmp / "exerciser"
    ready = TOP / "build" / "kernel" / "exerciser" / "exerciser"
    newest = max(path.stat().st_mtime for path in SOURCE.glob("*.[ch]"))
    if ready.exists() and ready.stat().st_mtime > newest:
        return ready
    done = subprocess.run(["make", "-s", "-C", str(SOURCE), f"OUT={out}"], text=True,
                          capture_output=True, check=False)
    lab.check(done.returncode == 0, f"the exerciser cannot be built: {done.stderr[-500:]}")
    return out / "exerciser"


def check_doc(lab: Lab, program: Path) -> None:
    """The page in docs/ has the tables that the program has."""
    tables = subprocess.run([str(program), "--markdown"], text=True, capture_output=True,
                            check=True).stdout
    lab.check(DOC.read_text("utf-8").partition(MARKER)[2].strip() == tables.strip(),
              f"{DOC.name} is not current: make -C tests/kernel/exerciser update-doc")


def run(lab: Lab, batch_mapping: bool = True, seed: int = 1, messages: int = 4000,
        device: str = "vdpa_sim_net", mgmt: str = "vdpasim_net",
        options: tuple[str, ...] = ()) -> None:
    """Build it, run it, count what it says."""
    program = build(lab)
    check_doc(lab, program)
    if not DEBUGFS.is_mount():
        subprocess.run(["mount", "-t", "debugfs", "none", str(DEBUGFS)], check=True)
    lab.load("vhost_vdpa")
    lab.load(device, vdpa_sim=f"batch_mapping={int(batch_mapping)}")
    command = [str(program), "--mgmt", mgmt, "--seed", str(seed), "--messages", str(messages),
               *options]
    command += [] if batch_mapping else ["--incremental"]
    command += ["--reference"] if lab.kernel != "6.1" else []
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    (lab.out / "exerciser.tap").write_text(done.stdout, encoding="utf-8")
    bad = [line for line in done.stdout.splitlines()
           if line.startswith(("not ok", "Bail out!"))]
    for line in bad:
        lab.log(line)
    plan = re.search(r"^1\.\.(\d+)$", done.stdout, re.MULTILINE)
    lab.figures.update(checks=int(plan[1]) if plan else 0, bad=len(bad),
                       skipped=done.stdout.count("# SKIP"))
    lab.check(not bad, f"{len(bad)} checks failed: {'; '.join(bad[:3])}")
    lab.check(plan is not None and done.returncode == 0,
              f"the exerciser ended early ({done.returncode}): {done.stderr[-300:]}")
