# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulator's own virtio devices as vDPA devices, by vp_vdpa.

Theory of operation
===================

The machine is qlab/vf.py's with VIRTIO_DEVICES: two network devices and a disk, behind an IOMMU that translates.
What one network device sends the other receives.

    net       both under virtio_vdpa: netlink, interrupts; ping, UDP and TCP with checked contents
    blk       contents through virtio-blk
    vhost     under vhost-vdpa: positions can be neither read nor set
    guest     a nested machine's NIC; numbered frames go round by way of the other device; driver reloaded
    named     the driver takes what it is given by name only, and nothing that is no virtio device behind the IOMMU

The registers, interrupts, faults and removal are ifcvf's scenarios, which drive the same code.

*Limits*: one queue pair.
"""

from __future__ import annotations

import errno
import json
import resource
from collections.abc import Callable

from qlab import vhostvdpa
from qlab.context import Lab
from qlab.outer import Outer
from qlab.scenario import DEBUG, Scenario
from qlab.vf import (VIRTIO_DEVICES, Function, disk_keeps, load, mgmt_devices, open_vhost, tool, unplug, wait_probed)
from qlab.vfnet import as_interfaces, nested

SCENARIO = Scenario(
    about="virtio devices as vDPA devices",
    time_limit=240,
    needs=("kvm", "guest-linux", "kernel-modules"),
    suites=("full", "kernel"),
    append=f"intel_iommu=on iommu=nopt {DEBUG}",
    l1_mem=2048,
    l1_monitor=True,
    l1_devices=VIRTIO_DEVICES,
    variants={
        **{name: {"part": name} for name in ("net", "blk", "vhost", "named")},
        "guest-stock": {"part": "guest", "which": "stock"},
        "guest-ours": {"part": "guest", "which": "qemu"},
    },
)

FEATURES = vhostvdpa.VERSION_1 | vhostvdpa.ACCESS_PLATFORM | 1 << 5
RUNNING = 15


def error_of(call: Callable[[], object]) -> int:
    """The errno that a call ends with; 0 for none."""
    try:
        call()
    except OSError as err:
        return err.errno or -1
    return 0


def part_net(lab: Lab) -> None:
    """Two devices as interfaces of the host."""
    outer = Outer()
    functions = [Function(0), Function(1)]
    known = mgmt_devices()
    for function in functions:
        said = known.get(function.address)
        lab.check(bool(said) and said["supported_classes"] == ["net"] and said["max_supported_vqs"] == 3,
                  f"{function.address} as a management device: {said}")
    lab.check(known[Function(2).address]["supported_classes"] == ["block"], "block device")
    for function in functions:
        function.add()
    config = json.loads(tool("vdpa", "-j", "dev", "config", "show", "vdpa1"))
    lab.check(config["config"]["vdpa1"]["mac"] == functions[1].mac, f"config: {config}")
    as_interfaces(lab, outer, functions[0], functions[1])
    for function in functions:
        function.delete()


def part_blk(lab: Lab) -> None:
    """The disk."""
    disk_keeps(lab, Function(2))


def part_vhost(lab: Lab) -> None:
    """Positions of queues: only 0 can be set, none can be read while the device runs."""
    function = Function(1)
    function.add()
    device = open_vhost(function)
    lab.check(device.negotiate(FEATURES) & vhostvdpa.FEATURES_OK != 0, "no FEATURES_OK")
    device.map()
    queue = device.queue(1)
    queue.start = 7
    said = error_of(queue.set_up)
    lab.check(said == errno.EOPNOTSUPP, f"a queue that begins at 7: {said}")
    queue.start = 0
    lab.check(device.run() == RUNNING, "the device does not run")
    said = error_of(queue.base)
    lab.check(said == errno.EOPNOTSUPP, f"the position of a running queue: {said}")
    device.close()
    function.delete()


def part_named(lab: Lab) -> None:
    """What the driver does not take."""
    outer = Outer()
    for why, device in (("not behind the IOMMU", {"driver": "virtio-net-pci", "disable-legacy": "on"}),
                        ("no virtio device", {"driver": "e1000e"})):
        outer.cmd("device_add", id="vf3", bus="rp3", netdev="net3", **device)
        function = wait_probed(Function(3), maybe_refused=True)
        lab.check(function.driver() != Function.parent, f"{why}: taken without being named")
        said = error_of(function.bind)
        lab.check(said == errno.ENODEV and not function.driver(), f"{why}: {said}, driver: {function.driver()}")
        unplug(outer, "vf3", 3)


def part_guest(lab: Lab, which: str) -> None:
    """A nested machine has the device."""
    nested(lab, getattr(lab, which), Function(1), Function(0), stops=False)


PARTS = {"net": part_net, "blk": part_blk, "vhost": part_vhost, "named": part_named, "guest": part_guest}


def run(lab: Lab, part: str, **more: str) -> None:
    """One part."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)
    load(lab, Function)
    PARTS[part](lab, **more)
