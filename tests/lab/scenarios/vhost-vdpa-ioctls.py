# SPDX-License-Identifier: GPL-2.0-or-later
"""Every ioctl of /dev/vhost-vdpa-N in every state, with good and bad arguments.

Theory of operation
===================

tests/kernel/exerciser runs inside L1 on a simulated network card, with redzones, poisoning and
consistency checks on in the slab allocator.  It prints TAP; each line that is not ok is in the log,
and one fails the scenario.  What it does to the kernel is seen by the kernel, whose reports fail the
scenario as they do any.

    tree          the simulator takes mappings as a whole tree (set_map)
    incremental   it takes them one by one (dma_map)
    files         tests/kernel/device instead: virtual addresses, files, doorbells
    platform      the same, as a device that wants an IOMMU and has none

On kernel 6.12 the driver under test is that kernel's own vhost_vdpa, under our simulator: an
independent implementation, from which ours differs where the exerciser's tables say so.  Its reports
about itself are its own affair, and the parts that would wait for it are skipped.

Exerciser and test device are taken from build/kernel/exerciser if they are current, else they are
built here, which takes a minute more.

*Limits*: vhost_vdpa has to be the only driver on the bus, so virtio_vdpa is not loaded.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from qlab.context import Lab
from qlab.scenario import DEBUG, Scenario

TOP = Path(__file__).resolve().parents[3]
SOURCE = TOP / "tests" / "kernel" / "exerciser"
DOC = TOP / "docs" / "use" / "vhost-vdpa-ioctls.md"
MARKER = "<!-- tables -->\n"

DEBUGFS = Path("/sys/kernel/debug")

SCENARIO = Scenario(
    about="the exerciser of the vhost-vdpa character device",
    time_limit=420,
    needs=("kernel-modules",),
    suites=("full", "kernel"),
    append=DEBUG,
    l1_mem=1536,
    own_binaries=True,
    variants={"tree": {}, "incremental": {"batch_mapping": False}, "files": {"kind": "files"},
              "platform": {"kind": "platform"}},
    short=("tree",),
)


def build(lab: Lab, source: Path, target: str, *words: str) -> Path:
    """TARGET of a Makefile: as it was built outside, if that is current, or built here."""
    ready = TOP / "build" / "kernel" / "exerciser" / target
    newest = max(path.stat().st_mtime for path in source.glob("*.[ch]"))
    if ready.exists() and ready.stat().st_mtime > newest:
        return ready
    out = lab.tmp / "exerciser"
    done = subprocess.run(["make", "-s", "-C", str(source), f"OUT={out}", *words], text=True,
                          capture_output=True, check=False)
    lab.check(done.returncode == 0, f"{target} cannot be built: {done.stderr[-500:]}")
    return out / Path(target).name


def load_simulator(lab: Lab, batch_mapping: bool) -> list[str]:
    """The network card; words for the exerciser."""
    if not DEBUGFS.is_mount():
        subprocess.run(["mount", "-t", "debugfs", "none", str(DEBUGFS)], check=True)
    lab.load("vhost_vdpa")
    lab.load("vdpa_sim_net", vdpa_sim=f"batch_mapping={int(batch_mapping)}")
    return ["--mgmt", "vdpasim_net", *([] if batch_mapping else ["--incremental"]),
            *(["--reference"] if lab.kernel != "6.1" else [])]


def load_test_device(lab: Lab, kind: str) -> list[str]:
    """tests/kernel/device; words for the exerciser."""
    if lab.kernel != "6.1":
        lab.skip("the test device is for kernel 6.1")
    symvers = lab.modules.directory / "src" / "Module.symvers"
    module = build(lab, TOP / "tests" / "kernel" / "device", f"{lab.built_for}/vdpa_test_device.ko",
                   f"SYMVERS={symvers}", *([f"HEADERS={lab.headers}"] if lab.debug else []))
    lab.load("vhost_vdpa")
    subprocess.run(["/sbin/insmod", str(module), f"kind={kind}"], check=True)
    return ["--mgmt", "vdpa_test", "--kind", kind]


def check_doc(lab: Lab, program: Path) -> None:
    """The page in docs/ has the tables that the program has."""
    tables = subprocess.run([str(program), "--markdown"], text=True, capture_output=True,
                            check=True).stdout
    lab.check(DOC.read_text("utf-8").partition(MARKER)[2].strip() == tables.strip(),
              f"{DOC.name} is not current: make -C tests/kernel/exerciser update-doc")


def run(lab: Lab, kind: str = "", batch_mapping: bool = True, seed: int = 1,
        messages: int = 4000) -> None:
    """Build it, run it, count what it says."""
    program = build(lab, SOURCE, "exerciser")
    check_doc(lab, program)
    words = load_test_device(lab, kind) if kind else load_simulator(lab, batch_mapping)
    done = subprocess.run([str(program), *words, "--seed", str(seed), "--messages", str(messages)],
                          text=True, capture_output=True, check=False)
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
