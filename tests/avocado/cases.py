# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters of the avocado tests: one dictionary per case.

Theory of operation
===================

Avocado runs a test once for each dictionary, as its parameters.  Each list
belongs to one test; `name` is the case's name in every report.  What a case
needs is data too (`ring`, `needs`), so the test can skip with a reason.

*Limits*: names are unique within a list.
"""

from __future__ import annotations

from typing import Any

Case = dict[str, Any]

#: precopy.py.  ring: dirty-ring-size, 0 is the bitmap.  kernel: the preloaded
#: library (ring-max.c, lossy.c), empty for none; with one, KVM is needed.
#: lossy: the guest must find pages missing.
PRECOPY: list[Case] = [
    {"name": "unix", "transport": "unix", "ring": 0, "kernel": ""},
    {"name": "unix-ring", "transport": "unix", "ring": 4096, "kernel": ""},
    {"name": "tcp", "transport": "tcp", "ring": 0, "kernel": ""},
    {"name": "tcp-ring", "transport": "tcp", "ring": 1024, "kernel": ""},
    {"name": "unix-no-kernel-ring", "transport": "unix", "ring": 4096,
     "kernel": "ring-max"},
    {"name": "unix-lossy-kernel", "transport": "unix", "ring": 0,
     "kernel": "lossy"},
]

#: badinput.py, BadInput.  accel: the argument of -accel.  says: a regular
#: expression for the one line on stderr.  needs: "kvm" where the kernel is
#: the one that refuses (any /dev/kvm will do, nothing runs on it).
BAD_INPUT: list[Case] = [
    {"name": "not-a-power-of-two", "needs": "",
     "accel": "kvm,dirty-ring-size=1000",
     "says": r"dirty-ring-size must be a power of two, not 1000"},
    {"name": "not-a-number", "needs": "",
     "accel": "kvm,dirty-ring-size=many",
     "says": r"dirty-ring-size"},
    {"name": "negative", "needs": "",
     "accel": "kvm,dirty-ring-size=-4096",
     "says": r"dirty-ring-size"},
    {"name": "too-large", "needs": "kvm",
     "accel": "kvm,dirty-ring-size=16777216",
     "says": r"dirty-ring-size=16777216 is too large.* at most [0-9]+ entries"},
    {"name": "too-small", "needs": "kvm",
     "accel": "kvm,dirty-ring-size=2",
     "says": r"refuses dirty-ring-size=2: .*larger"},
    {"name": "no-kvm-device", "needs": "",
     "accel": "kvm,device=/nonexistent,dirty-ring-size=4096",
     "says": r"(?i)kvm.*No such file or directory"},
    {"name": "device-is-not-kvm", "needs": "",
     "accel": "kvm,device=/dev/null,dirty-ring-size=4096",
     "says": r"(?i)kvm"},
    {"name": "on-without-entries", "needs": "kvm",
     "accel": "kvm,dirty-ring=on,dirty-ring-size=0",
     "says": r"dirty-ring=on and dirty-ring-size=0 contradict each other"},
    {"name": "off-with-entries", "needs": "kvm",
     "accel": "kvm,dirty-ring-size=4096,dirty-ring=off",
     "says": r"dirty-ring=off and dirty-ring-size=4096 contradict each other"},
    {"name": "neither-on-nor-off", "needs": "",
     "accel": "kvm,dirty-ring=4096",
     "says": r"dirty-ring.*on.*off"},
    {"name": "tcg-has-no-dirty-ring", "needs": "",
     "accel": "tcg,dirty-ring=on",
     "says": r"dirty-ring.* not found"},
    {"name": "tcg-has-no-ring", "needs": "",
     "accel": "tcg,dirty-ring-size=4096",
     "says": r"dirty-ring-size.* not found"},
]

#: badinput.py, KernelWithoutRing.
WITHOUT_RING: list[Case] = [
    {"name": "warns-and-runs", "needs": "kvm",
     "accel": "kvm,dirty-ring-size=4096",
     "says": r"warning: .*dirty ring.* not offered .*bitmap"},
    {"name": "on-warns-and-runs", "needs": "kvm",
     "accel": "kvm,dirty-ring=on",
     "says": r"warning: .*dirty ring.* not offered .*bitmap"},
]

#: badinput.py, RingSize.  size: entries of each ring, 0 for no rings.  most: entries that the kernel offers, 0 for
#: the machine's own answer; 3,000 is no power of two, so QEMU can use 2,048 of them.
RING_SIZE: list[Case] = [
    {"name": "default", "needs": "kvm", "accel": "kvm", "size": 0, "most": 0},
    {"name": "off", "needs": "kvm", "accel": "kvm,dirty-ring=off", "size": 0, "most": 0},
    {"name": "off-and-0", "needs": "kvm", "accel": "kvm,dirty-ring=off,dirty-ring-size=0",
     "size": 0, "most": 0},
    {"name": "on", "needs": "kvm", "accel": "kvm,dirty-ring=on", "size": 65536, "most": 0},
    {"name": "on-small-kernel", "needs": "kvm", "accel": "kvm,dirty-ring=on", "size": 2048,
     "most": 3000},
    {"name": "on-and-size", "needs": "kvm", "accel": "kvm,dirty-ring=on,dirty-ring-size=1024",
     "size": 1024, "most": 0},
    {"name": "size-and-on", "needs": "kvm", "accel": "kvm,dirty-ring-size=1024,dirty-ring=on",
     "size": 1024, "most": 0},
    {"name": "size", "needs": "kvm", "accel": "kvm,dirty-ring-size=4096", "size": 4096, "most": 0},
]

#: vdpa.py, Mac.  The fake device's address is 52:54:00:00:00:aa.  says: a regular expression for the one
#: line on stderr, empty for none.
VDPA_MAC: list[Case] = [
    {"name": "mac-alike", "mac": "52:54:00:00:00:aa", "says": ""},
    {"name": "mac-differs", "mac": "52:54:00:00:00:01",
     "says": r"(?i)warning: .*device has MAC address 52:54:00:00:00:aa, "
             r"the command line says 52:54:00:00:00:01; set both alike"},
]

#: vdpa.py, Link.  link: the name for set_link, the -netdev's or the -device's.
VDPA_LINK: list[Case] = [
    {"name": "link-of-netdev", "mac": "52:54:00:00:00:aa", "link": "n0"},
    {"name": "link-of-device", "mac": "52:54:00:00:00:aa", "link": "nic"},
]

#: hostile.py.
VDPA_HOSTILE: list[Case] = [
    {"name": what, "what": what} for what in (
        "packed-position", "packed-control", "queue-reset", "late-queue", "deleted-queue", "query", "commands",
        "answer-register", "flood", "ring-register", "stop-register", "failed-launch", "features", "generic", "faults",
        "noise", "unplug")
]

#: positions.py.
VDPA_POSITIONS: list[Case] = [
    {"name": what, "what": what} for what in (
        "in-flight", "packed-flight", "no-position", "no-suspend", "stores", "ignores")
]

#: transmit.py.
VDPA_TRANSMIT: list[Case] = [
    {"name": what, "what": what} for what in (
        "stays", "shadowed", "marked", "late-reset", "plugged", "iothread", "platform")
]

#: offered.py.
VDPA_OFFERED: list[Case] = [{"name": "offered"}]

#: hostile.py, LongNoise: with --long only.
VDPA_HOSTILE_LONG: list[Case] = [
    {"name": "noise-long", "what": "noise", "seconds": 600, "seed": 5},
]

#: viommu.py.
VIOMMU: list[Case] = [
    {"name": what, "what": what} for what in (
        "ring-address", "apart", "whole", "regions", "to-register", "flood", "to-bypass")
]

#: virtio_rules.py.
VIRTIO_RULES: list[Case] = [
    {"name": what, "what": what} for what in ("to-split", "to-packed", "event-index", "queue-reset", "started")
]

#: control.py.
VDPA_CONTROL: list[Case] = [
    {"name": what, "what": what} for what in (
        "mac-set", "mac-fixed", "waiting", "handover", "refused", "halted", "broken", "noise")
]

#: startfail.py, StartFails.  values: how many descriptors QEMU has left, one after the other.
VDPA_START: list[Case] = [
    {"name": "load", "what": "load", "pairs": 1, "values": "0 3 6 7 8 9 10 11 12"},
    {"name": "load-svq", "what": "load", "pairs": 1, "svq": 1, "values": "9 10 11 12 13 14 15 16"},
    {"name": "load-8", "what": "load", "pairs": 8, "values": "0 16 17 33 36 40 45 46"},
    {"name": "device-add", "what": "device-add", "pairs": 1, "values": "0 1 2 4 6 9 13 17"},
    {"name": "device-add-8", "what": "device-add", "pairs": 8, "values": "2 12 20 40"},
    {"name": "incoming", "what": "incoming", "pairs": 1, "values": "0 2 6 8 11"},
    {"name": "incoming-8", "what": "incoming", "pairs": 8, "values": "16 36"},
    {"name": "ioctls", "what": "ioctls", "pairs": 1},
    {"name": "rings", "what": "rings", "pairs": 1},
    {"name": "migrates", "what": "migrates", "pairs": 1},
    {"name": "migrates-8", "what": "migrates", "pairs": 8},
    {"name": "stalled", "what": "stalled", "pairs": 1},
    {"name": "generic", "what": "generic", "pairs": 1, "values": "0 3 6 7 8 9 10 11 12"},
]

#: startfail.py, LongStart: every number; with --long only.
VDPA_START_LONG: list[Case] = [
    {"name": f"{what}{'-8' if pairs > 1 else ''}-all{'-svq' if svq else ''}", "what": what,
     "pairs": pairs, "svq": svq}
    for what in ("load", "device-add", "incoming") for pairs in (1, 8) for svq in (0, 1)
]

#: broken.py, BrokenRing.  errno: what the kernel answers to a reset, 0 for "done".  writes: the guest does.
BROKEN: list[Case] = [
    {"name": "guest-runs-on", "needs": "kvm", "errno": 5, "writes": 0},
    {"name": "guest-stops", "needs": "kvm", "errno": 5, "writes": 1},
    {"name": "idle-runs-on", "needs": "kvm", "errno": 0, "writes": 0},
    {"name": "idle-stops", "needs": "kvm", "errno": 0, "writes": 1},
]

#: broken.py, SignalledReset.
SIGNALLED: list[Case] = [
    {"name": "blocked", "needs": "kvm"},
]

#: syncs.py, SlowReset.
SLOW_RESET: list[Case] = [{"name": "monitor-answers"}]

#: syncs.py, MemoryAdded.
MEMORY_ADDED: list[Case] = [{"name": "no-deadlock"}]

#: broken.py, SlotRemoval.
SLOT_REMOVAL: list[Case] = [
    {"name": "vcpus-outside", "needs": "kvm"},
]

#: broken.py, BackupBitmap.
BACKUP_BITMAP: list[Case] = [
    {"name": "stopped-sync", "needs": "kvm"},
]

#: layouts.py.  memory: MiB of the machine's own; an odd number, and what follows begins within a chunk of the dirty
#: summary.  dimms: KiB of each memory module.  plugged: KiB of one that is plugged in before the migration.  backend:
#: of the modules (layouts.BACKENDS).  virtio_mem: KiB that the guest plugs in.  balloon: it takes pages meanwhile.
LAYOUTS: list[Case] = [
    {"name": "plain", "memory": 64},
    {"name": "small-dimms", "memory": 37, "dimms": [2048 * (1 + number % 4) for number in range(16)]},
    {"name": "hotplugged", "memory": 64, "dimms": [2048], "plugged": 6144},
    {"name": "beyond-a-summary", "memory": 9 * 1024 + 3, "dimms": [2048, 1048576]},
    {"name": "multifd", "memory": 131, "dimms": [2048], "capabilities": ["multifd"]},
    {"name": "files", "memory": 64, "dimms": [2048, 6144], "backend": "file"},
    {"name": "shared", "memory": 64, "dimms": [2048, 6144], "backend": "shared", "capabilities": ["x-ignore-shared"]},
    {"name": "huge-pages", "memory": 64, "dimms": [2048, 6144], "backend": "huge"},
    {"name": "virtio-mem", "memory": 64, "virtio_mem": 32768},
    {"name": "balloon", "memory": 64, "dimms": [2048], "balloon": True},
]
