# SPDX-License-Identifier: GPL-2.0-or-later
"""Two virtio-net devices of L1 behind its IOMMU exchange streams, under the kernel's own drivers.

Theory of operation
===================

L1 is a q35 machine with an Intel IOMMU that translates.  Each device is an interface in a network namespace
of its own.  A stream goes one way, then the other; each is long enough to pass through all four rings twice.
The received stream has to be the one that was sent, and no interface may count an error.

Without system/physmem.c.cached.cocci the emulator writes parts of a ring into the page behind the ring's
first page.  Then a device sends old frames or stops ("Guest moved used index"), or L1 counts frames without
a length.

*Limits*: the kernel chooses the pages of a ring.  If they are consecutive, the fault does not show.
"""

from pathlib import Path

from qlab.context import Lab
from qlab.netns import namespace, tcp_digest
from qlab.scenario import Scenario
from qlab.vf import port, tool, wait_for

SCENARIO = Scenario(
    about="stock virtio-net devices behind L1's IOMMU exchange streams",
    time_limit=180,
    needs=(),
    suites=("full", "kernel"),
    own_binaries=True,
    append="intel_iommu=on iommu=nopt",
    l1_mem=2048,
    l1_devices=(
        "-machine", "q35", "-device", "intel-iommu",
        *(word for number in (0, 1) for word in (
            *port(number), "-netdev", f"hubport,hubid=0,id=net{number}",
            "-device", f"virtio-net-pci-non-transitional,iommu_platform=on,bus=rp{number},"
                       f"netdev=net{number},mac=52:54:00:00:00:1{number}")),
    ),
)

#: Bytes of a stream: more than 2,048 frames of 1,514, two rounds of a ring of 1,024.
SIZE = 4 << 20


def device(number: int) -> Path:
    """The PCI function below a root port."""
    below = Path(f"/sys/bus/pci/devices/0000:00:{0x10 + number:x}.0")
    return next(path.parent for path in below.glob("0000:*/iommu_group"))


def interface(number: int) -> str:
    """Its network interface."""
    found: Path = wait_for(f"interface {number}",
                           lambda: next(device(number).glob("virtio*/net/*"), None))
    return found.name


def errors(name: str) -> dict[str, int]:
    """What the namespace's interface has counted that should not happen."""
    shown = tool("ip", "netns", "exec", name, "cat", "/proc/net/dev")
    words = next(line for line in shown.splitlines() if "eth0:" in line).split(":")[1].split()
    return {kind: int(words[place]) for kind, place in (
        ("receive errors", 2), ("receive frame errors", 5), ("transmit errors", 10))}


def run(lab: Lab) -> None:
    """A stream each way."""
    lab.load("virtio_net", "af_packet")
    for number in (0, 1):
        kind = (device(number) / "iommu_group/type").read_text("ascii").strip()
        lab.check(kind.startswith("DMA"), f"device {number} is in a domain of type {kind}")
    with namespace(1, interface(0)) as first, namespace(2, interface(1)) as second:
        lab.figures["mib_s_there"] = round(tcp_digest(lab, first, second, SIZE), 2)
        lab.figures["mib_s_back"] = round(tcp_digest(lab, second, first, SIZE), 2)
        for name in (first, second):
            counted = errors(name)
            lab.log(f"{name}: {counted}")
            lab.check(not any(counted.values()), f"{name}: {counted}")
