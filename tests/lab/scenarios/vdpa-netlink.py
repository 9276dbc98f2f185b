# SPDX-License-Identifier: GPL-2.0-or-later
"""Management of vDPA devices: what the `vdpa` tool does, and what no sound tool would send.

tool     every command of iproute2's vdpa, as text and as JSON, on simulated devices of two classes
errors   a table of requests, good and bad, with the errno that each has to end with
dumps    devices are deleted and added while a dump of them is under way
crowd    several clients at once, adding, deleting and listing, killed in between

*Limits*: a device without a management device would need a module of its own to show that it is
neither listed nor deleted.  That a request is answered says nothing about its words, which are
logged.
"""

import ctypes
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qlab import genl
from qlab.context import Lab
from qlab.genl import Attribute, Family, text, u16, u32, u64
from qlab.scenario import DEBUG, Scenario

SCENARIO = Scenario(
    about="management of vDPA devices by netlink",
    time_limit=240,
    needs=("kernel-modules",),
    suites=("full", "kernel"),
    append=DEBUG,
    l1_mem=1536,
    own_binaries=True,
    variants={name: {"part": name} for name in ("tool", "errors", "dumps", "crowd")},
    short=("errors",),
)

NET, BLK = "vdpasim_net", "vdpasim_blk"

# Commands and attributes of uapi/linux/vdpa.h
MGMT_GET, NEW, DEL, GET, CONFIG, VSTATS, SET = 2, 3, 4, 5, 6, 7, 8
(BUS_NAME, MGMT_NAME, CLASSES, NAME, DEV_ID, VENDOR, MAX_VQS, MAX_SIZE, MIN_SIZE, MAC, STATUS,
 MAX_VQP, MTU, NEGOTIATED, MGMT_MAX_VQS, MGMT_FEATURES, QUEUE, VENDOR_NAME, VENDOR_VALUE, FEATURES,
 DEV_FEATURES) = range(1, 22)
NLA_F_NESTED = 0x8000

F_MTU, F_MAC, F_STATUS, F_CTRL_VQ, F_MQ, F_VERSION_1, F_PLATFORM = (
    1 << bit for bit in (3, 5, 16, 17, 22, 32, 33))
GOOD_MAC = bytes.fromhex("525400123456")
NAME_MAX = 127

EPERM, ENOENT, EAGAIN, ENODEV, EINVAL, EEXIST, ERANGE, EOPNOTSUPP = (
    1, 2, 11, 19, 22, 17, 34, 95)
NOBODY = 65534
CLONE_NEWNET = 0x40000000


def new(*more: Attribute, name: str = "made", mgmt: str = NET) -> list[Attribute]:
    """Attributes of a sound DEV_NEW, and MORE."""
    return [(NAME, text(name)), (MGMT_NAME, text(mgmt)), *more]


@dataclass(frozen=True)
class Case:
    """One request and how it has to end; devices that it makes are deleted afterwards."""

    what: str
    command: int
    attributes: list[Attribute]
    error: int
    raw: bytes = b""
    flags: int = 0
    reserved: int = 0


#: `net` and `blk` are there, `nope` and `made` are not; nothing has negotiated features.
CASES = [
    Case("management device", MGMT_GET, [(MGMT_NAME, text(NET))], 0),
    Case("management device, string without its NUL", MGMT_GET, [(MGMT_NAME, NET.encode())], 0),
    Case("management device, none named", MGMT_GET, [], EINVAL),
    Case("management device, unknown", MGMT_GET, [(MGMT_NAME, text("nope"))], ENODEV),
    Case("management device, part of a name", MGMT_GET, [(MGMT_NAME, NET[:-1].encode())], ENODEV),
    Case("management device, empty name", MGMT_GET, [(MGMT_NAME, text(""))], ENODEV),
    Case("management device, no byte of a name", MGMT_GET, [(MGMT_NAME, b"")], ERANGE),
    Case("management device, bus that it is not on", MGMT_GET,
         [(BUS_NAME, text("pci")), (MGMT_NAME, text(NET))], ENODEV),
    Case("management device, only a bus", MGMT_GET, [(BUS_NAME, text("pci"))], EINVAL),
    Case("management device, two strings in one", MGMT_GET,
         [(MGMT_NAME, text(NET) + text("x"))], EINVAL),
    Case("management device, overlong name", MGMT_GET,
         [(MGMT_NAME, text("n" * (NAME_MAX + 1)))], ERANGE),
    Case("management device, overlong bus", MGMT_GET,
         [(BUS_NAME, text("n" * 60000)), (MGMT_NAME, text(NET))], ERANGE),

    Case("new", NEW, new(), 0),
    Case("new, longest name", NEW, new(name="n" * NAME_MAX), 0),
    Case("new, overlong name", NEW, new(name="n" * (NAME_MAX + 1)), ERANGE),
    Case("new, far too long a name", NEW, new(name="n" * 60000), ERANGE),
    Case("new, empty name", NEW, new(name=""), EINVAL),
    Case("new, name with a slash", NEW, new(name="a/b"), EINVAL),
    Case("new, name with a space", NEW, new(name="a b"), EINVAL),
    Case("new, name with a newline", NEW, new(name="a\nb"), EINVAL),
    Case("new, name beyond ASCII", NEW, new(name="\u00fc"), EINVAL),
    Case("new, hidden name", NEW, new(name=".a"), EINVAL),
    Case("new, name of the directory", NEW, new(name=".."), EINVAL),
    Case("new, format directives for a name", NEW, new(name="%s%n%p"), 0),
    Case("new, name of a device", NEW, new(name="net"), EEXIST),
    Case("new, name of another's device", NEW, new(name="blk"), EEXIST),
    Case("new, name of a file in sysfs", NEW, new(name="uevent"), EEXIST),
    Case("new, no name", NEW, [(MGMT_NAME, text(NET))], EINVAL),
    Case("new, no management device", NEW, [(NAME, text("made"))], EINVAL),
    Case("new, nothing", NEW, [], EINVAL),
    Case("new, unknown management device", NEW, new(mgmt="nope"), ENODEV),
    Case("new, MAC address", NEW, new((MAC, GOOD_MAC)), 0),
    Case("new, MAC address of five bytes", NEW, new((MAC, GOOD_MAC[:5])), ERANGE),
    Case("new, MAC address of eight bytes", NEW, new((MAC, GOOD_MAC + b"ab")), ERANGE),
    Case("new, no byte of a MAC address", NEW, new((MAC, b"")), ERANGE),
    Case("new, MAC address of a group", NEW, new((MAC, bytes([1, 0, 0x5e, 0, 0, 1]))), EINVAL),
    Case("new, broadcast MAC address", NEW, new((MAC, b"\xff" * 6)), EINVAL),
    Case("new, MAC address zero", NEW, new((MAC, bytes(6))), EINVAL),
    Case("new, least MTU", NEW, new((MTU, u16(68))), 0),
    Case("new, most MTU", NEW, new((MTU, u16(65535))), 0),
    Case("new, MTU too small", NEW, new((MTU, u16(67))), ERANGE),
    Case("new, MTU of 32 bits", NEW, new((MTU, u32(1500))), EINVAL),
    Case("new, MTU of one byte", NEW, new((MTU, b"\xff")), EINVAL),
    Case("new, two queue pairs", NEW, new((MAX_VQP, u16(2))), 0),
    Case("new, no queue pair", NEW, new((MAX_VQP, u16(0))), EINVAL),
    Case("new, more queue pairs than virtio has", NEW, new((MAX_VQP, u16(0x8001))), ERANGE),
    Case("new, queue pairs of 32 bits", NEW, new((MAX_VQP, u32(2))), EINVAL),
    Case("new, features", NEW, new((FEATURES, u64(F_VERSION_1 | F_PLATFORM | F_MAC))), 0),
    Case("new, features with what MAC address and MTU need", NEW,
         new((FEATURES, u64(F_VERSION_1 | F_PLATFORM | F_MAC | F_MTU)), (MAC, GOOD_MAC),
             (MTU, u16(9000))), 0),
    Case("new, features that are not offered", NEW,
         new((FEATURES, u64(F_VERSION_1 | F_PLATFORM | 1 << 63))), EINVAL),
    Case("new, features without the MAC address's", NEW,
         new((FEATURES, u64(F_VERSION_1 | F_PLATFORM)), (MAC, GOOD_MAC)), EINVAL),
    Case("new, features without the MTU's", NEW,
         new((FEATURES, u64(F_VERSION_1 | F_PLATFORM)), (MTU, u16(1500))), EINVAL),
    Case("new, features of 32 bits", NEW, new((FEATURES, u32(32))), EINVAL),
    Case("new, no feature", NEW, new((FEATURES, u64(0))), EINVAL),
    Case("new block device, MAC address", NEW, new((MAC, GOOD_MAC), mgmt=BLK), EOPNOTSUPP),
    Case("new block device, MTU", NEW, new((MTU, u16(1500)), mgmt=BLK), EOPNOTSUPP),
    Case("new block device, queue pairs", NEW, new((MAX_VQP, u16(1)), mgmt=BLK), EOPNOTSUPP),
    Case("new, attribute of answers", NEW, new((DEV_ID, u32(1))), EINVAL),
    Case("new, unknown attribute", NEW, new((60, u32(1))), EINVAL),
    Case("new, nested name", NEW, [(NAME | NLA_F_NESTED, text("made")), (MGMT_NAME, text(NET))],
         EINVAL),
    Case("new, attribute shorter than its head", NEW, new(), EINVAL, raw=b"\2\0\4\0"),
    Case("new, attribute that goes beyond the message", NEW, new(), EINVAL,
         raw=b"\xff\xff\4\0abcd"),
    Case("new, bytes at the end that are no attribute", NEW, new(), EINVAL, raw=b"\1\2"),
    Case("new, name twice: the last counts", NEW, [(NAME, text("a/b")), *new()], 0),
    Case("new, as a dump", NEW, new(), EOPNOTSUPP, flags=genl.NLM_F_DUMP),
    Case("new, reserved bits", NEW, new(), 0, reserved=1),
    Case("new, to be created", NEW, new(), 0, flags=genl.NLM_F_CREATE | genl.NLM_F_EXCL),
    Case("device, to be created", GET, [(NAME, text("net"))], 0, flags=genl.NLM_F_CREATE),

    Case("delete, nothing", DEL, [], EINVAL),
    Case("delete, unknown", DEL, [(NAME, text("nope"))], ENODEV),
    Case("delete, empty name", DEL, [(NAME, text(""))], ENODEV),
    Case("delete, no byte of a name", DEL, [(NAME, b"")], ERANGE),
    Case("delete, number for a name", DEL, [(NAME, u32(1))], EINVAL),
    Case("delete, overlong name", DEL, [(NAME, text("n" * (NAME_MAX + 1)))], ERANGE),
    Case("delete, by the management device", DEL, [(MGMT_NAME, text(NET))], EINVAL),

    Case("device", GET, [(NAME, text("net"))], 0),
    Case("device, none named", GET, [], EINVAL),
    Case("device, unknown", GET, [(NAME, text("nope"))], ENODEV),
    Case("device, overlong name", GET, [(NAME, b"n" * (NAME_MAX + 1))], ERANGE),
    Case("configuration", CONFIG, [(NAME, text("net"))], 0),
    Case("configuration of a block device", CONFIG, [(NAME, text("blk"))], 0),
    Case("configuration, none named", CONFIG, [], EINVAL),
    Case("configuration, unknown", CONFIG, [(NAME, text("nope"))], ENODEV),

    Case("statistics before negotiation", VSTATS, [(NAME, text("net")), (QUEUE, u32(0))], EAGAIN),
    Case("statistics, no queue named", VSTATS, [(NAME, text("net"))], EINVAL),
    Case("statistics, no device named", VSTATS, [(QUEUE, u32(0))], EINVAL),
    Case("statistics, queue of 16 bits", VSTATS, [(NAME, text("net")), (QUEUE, u16(0))], EINVAL),
    Case("statistics, no such queue", VSTATS, [(NAME, text("net")), (QUEUE, u32(3))], ERANGE),
    Case("statistics, no such queue by far", VSTATS,
         [(NAME, text("net")), (QUEUE, u32(0x10000))], ERANGE),
    Case("statistics, last of all numbers", VSTATS,
         [(NAME, text("net")), (QUEUE, u32(0xffffffff))], ERANGE),
    Case("statistics, unknown device", VSTATS, [(NAME, text("nope")), (QUEUE, u32(0))], ENODEV),
    Case("statistics of a block device", VSTATS, [(NAME, text("blk")), (QUEUE, u32(0))],
         EOPNOTSUPP),
    Case("statistics of everything", VSTATS, [], EOPNOTSUPP, flags=genl.NLM_F_DUMP),
    Case("set, MAC address", SET, [(NAME, text("net")), (MAC, GOOD_MAC)], 0),
    Case("set, MTU", SET, [(NAME, text("net")), (MTU, u16(9000))], 0),
    Case("set, nothing", SET, [(NAME, text("net"))], EINVAL),
    Case("set, no device named", SET, [(MAC, GOOD_MAC)], EINVAL),
    Case("set, unknown device", SET, [(NAME, text("nope")), (MAC, GOOD_MAC)], ENODEV),
    Case("set, MAC address of a group", SET, [(NAME, text("net")), (MAC, b"\xff" * 6)], EINVAL),
    Case("set, MAC address of five bytes", SET, [(NAME, text("net")), (MAC, GOOD_MAC[:5])], ERANGE),
    Case("set, MTU too small", SET, [(NAME, text("net")), (MTU, u16(67))], ERANGE),
    Case("set, queue pairs", SET, [(NAME, text("net")), (MAX_VQP, u16(2))], EOPNOTSUPP),
    Case("set, features", SET, [(NAME, text("net")), (FEATURES, u64(F_VERSION_1 | F_PLATFORM))],
         EOPNOTSUPP),
    Case("set, features that are not offered", SET, [(NAME, text("net")), (FEATURES, u64(1 << 63))],
         EINVAL),
    Case("set, block device's MAC address", SET, [(NAME, text("blk")), (MAC, GOOD_MAC)], EOPNOTSUPP),
    Case("set, as a dump", SET, [(NAME, text("net")), (MAC, GOOD_MAC)], EOPNOTSUPP,
         flags=genl.NLM_F_DUMP),
    Case("no such command", 99, [], EOPNOTSUPP),
    Case("command of answers", 1, [], EOPNOTSUPP),
]

#: What a user without CAP_NET_ADMIN gets.
NOBODY_CASES = [
    Case("device, by nobody", GET, [(NAME, text("net"))], 0),
    Case("management device, by nobody", MGMT_GET, [(MGMT_NAME, text(NET))], 0),
    Case("configuration, by nobody", CONFIG, [(NAME, text("net"))], 0),
    Case("new, by nobody", NEW, new(), EPERM),
    Case("new with a MAC address, by nobody", NEW, new((MAC, GOOD_MAC)), EPERM),
    Case("set, by nobody", SET, [(NAME, text("net")), (MAC, GOOD_MAC)], EPERM),
    Case("delete, by nobody", DEL, [(NAME, text("net"))], EPERM),
    Case("statistics, by nobody", VSTATS, [(NAME, text("net")), (QUEUE, u32(0))], EPERM),
]


def vdpa(*words: str, fails: bool = False) -> str:
    """Run the tool; what it printed.  Its vstats does not fail when the kernel has refused."""
    done = subprocess.run(["vdpa", *words], text=True, capture_output=True, check=False, timeout=30)
    if (done.returncode != 0 or "kernel answers" in done.stderr) != fails:
        raise AssertionError(f"vdpa {' '.join(words)}: status {done.returncode}, "
                             f"{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def shown(*words: str) -> dict:
    """The same as JSON."""
    return json.loads(vdpa("-j", *words))


def names(lab: Lab) -> list[str]:
    """Devices that sysfs has."""
    del lab
    return sorted(path.name for path in Path("/sys/bus/vdpa/devices").iterdir())


def expect(lab: Lab, what: str, got: object, want: object) -> None:
    """Fail unless equal."""
    lab.check(got == want, f"{what}: {got!r} instead of {want!r}")


def tool(lab: Lab) -> None:
    """All commands of the tool."""
    mgmt = shown("mgmtdev", "show")["mgmtdev"]
    expect(lab, "management devices", sorted(mgmt), [BLK, NET])
    expect(lab, "classes", [mgmt[NET]["supported_classes"], mgmt[BLK]["supported_classes"]],
           [["net"], ["block"]])
    lab.check({"MAC", "MTU", "MQ", "STATUS"} <= set(mgmt[NET]["dev_features"]), f"{mgmt}")
    expect(lab, "one of them", shown("mgmtdev", "show", NET)["mgmtdev"], {NET: mgmt[NET]})
    vdpa("mgmtdev", "show", "nope", fails=True)
    lab.log(vdpa("mgmtdev", "show"))

    vdpa("dev", "add", "name", "one", "mgmtdev", NET, "mac", "52:54:00:12:34:56", "mtu", "9000",
         "max_vqp", "2")
    vdpa("dev", "add", "name", "two", "mgmtdev", BLK)
    vdpa("dev", "add", "name", "three", "mgmtdev", NET)
    expect(lab, "in sysfs", names(lab), ["one", "three", "two"])

    devices = shown("dev", "show")["dev"]
    expect(lab, "devices in order of age", list(devices), ["one", "two", "three"])
    expect(lab, "types", [entry["type"] for entry in devices.values()],
           ["network", "block", "network"])
    expect(lab, "makers", [entry["mgmtdev"] for entry in devices.values()], [NET, BLK, NET])
    expect(lab, "queues", [devices["one"]["max_vqs"], devices["three"]["max_vqs"]], [5, 3])
    lab.check(devices["one"]["max_vq_size"] >= 2, f"{devices}")
    expect(lab, "one device", shown("dev", "show", "one")["dev"], {"one": devices["one"]})
    lab.log(vdpa("dev", "show"))

    config = shown("dev", "config", "show")["config"]
    expect(lab, "configurations", list(config), ["one", "two", "three"])
    expect(lab, "configuration", config["one"],
           {"mac": "52:54:00:12:34:56", "link ": "up", "link_announce ": False, "max_vq_pairs": 2,
            "mtu": 9000})
    expect(lab, "one configuration", shown("dev", "config", "show", "one")["config"]["one"],
           config["one"])
    lab.check("max_vq_pairs" not in config["three"], f"no multiqueue: {config['three']}")
    lab.log(vdpa("dev", "config", "show"))
    statistics(lab)

    vdpa("dev", "add", "name", "one", "mgmtdev", NET, fails=True)
    vdpa("dev", "del", "three")
    vdpa("dev", "del", "three", fails=True)
    vdpa("dev", "show", "three", fails=True)
    expect(lab, "devices", list(shown("dev", "show")["dev"]), ["one", "two"])
    lab.unload("vdpa_sim_blk")      # its device goes with it
    expect(lab, "devices", list(shown("dev", "show")["dev"]), ["one"])


def statistics(lab: Lab) -> None:
    """vstats needs a driver; the kernel's own is one."""
    vdpa("dev", "vstats", "show", "one", "qidx", "0", fails=True)
    lab.load("virtio_net", "virtio_vdpa")
    config = shown("dev", "config", "show", "one")["config"]["one"]
    lab.check("MAC" in config["negotiated_features"], f"{config}")
    queues = [shown("dev", "vstats", "show", "one", "qidx", str(index))["vstats"]["one"]
              for index in range(5)]
    expect(lab, "roles of queues", [queue["queue_type"] for queue in queues],
           ["rx", "tx", "rx", "tx", "control_vq"])
    lab.check("packets" in queues[0] and "commands" in queues[4], f"{queues}")
    vdpa("dev", "vstats", "show", "one", "qidx", "5", fails=True)
    lab.log(vdpa("dev", "vstats", "show", "one", "qidx", "1"))
    lab.unload("virtio_vdpa")
    vdpa("dev", "vstats", "show", "one", "qidx", "0", fails=True)


def try_case(lab: Lab, family: Family, case: Case) -> str:
    """What is wrong with a case; empty for nothing."""
    before = names(lab)
    answer = family.request(case.command, case.attributes, case.flags, case.raw, case.reserved)
    want = genl.Answer(case.error)
    lab.log(f"{case.what}: {answer.errno} {answer.message}")
    after = names(lab)
    for name in sorted(set(after) - set(before)):
        family.request(DEL, [(NAME, text(name))])
    if answer.error != case.error:
        return f"{case.what}: {answer.errno} instead of {want.errno} ({answer.message})"
    if case.command == NEW and (len(after) > len(before)) != (not case.error):
        return f"{case.what}: {answer.errno}, but devices are {after} after {before}"
    return ""


def in_child(act: Callable[[], list[str]]) -> list[str]:
    """What ACT returns in a process of its own, which it may change for good."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        wrong = ["the child died"]
        try:
            wrong = act()
        except BaseException as err:  # pylint: disable=broad-except
            wrong = [f"{type(err).__name__}: {err}"]
        finally:
            os.write(writer, json.dumps(wrong).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(said or b'["the child died"]')


def as_nobody(lab: Lab) -> list[str]:
    """The cases of a user without rights."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    with Family("vdpa") as family:
        return [wrong for case in NOBODY_CASES if (wrong := try_case(lab, family, case))]


def elsewhere() -> list[str]:
    """Another network namespace has no such family."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        return [f"unshare: {os.strerror(ctypes.get_errno())}"]
    try:
        Family("vdpa").close()
    except OSError as err:
        return [] if err.errno == ENOENT else [f"other namespace: {err}"]
    return ["the family is in another network namespace"]


def features_chosen(lab: Lab, family: Family) -> None:
    """device_features, which iproute2 6.1 cannot ask for."""
    wanted = F_VERSION_1 | F_PLATFORM | F_MAC | F_STATUS
    answer = family.request(NEW, new((FEATURES, u64(wanted)), (MAC, GOOD_MAC), name="chosen"))
    expect(lab, "new with features", answer.errno, "0")
    config = family.request(CONFIG, [(NAME, text("chosen"))]).messages[0]
    expect(lab, "features", config[DEV_FEATURES], u64(wanted))
    expect(lab, "MAC address", config[MAC], GOOD_MAC)
    lab.check(MTU not in config and MAX_VQP not in config and NEGOTIATED not in config,
              f"fields without a meaning: {sorted(config)}")
    device = family.request(GET, [(NAME, text("chosen"))]).messages[0]
    expect(lab, "queues without a control queue", device[MAX_VQS], u32(2))
    expect(lab, "delete", family.request(DEL, [(NAME, text("chosen"))]).errno, "0")


def changed(lab: Lab, family: Family) -> None:
    """What DEV_ATTR_SET changes, and when it may; iproute2 6.1 cannot ask for it."""
    def change(*more: Attribute) -> str:
        return family.request(SET, [(NAME, text("changed")), *more]).errno

    def look() -> list[bytes]:
        config = family.request(CONFIG, [(NAME, text("changed"))]).messages[0]
        return [config[MAC], config[MTU]]

    other = GOOD_MAC[:5] + b"\x57"
    expect(lab, "new", family.request(NEW, new((MAC, GOOD_MAC), (MTU, u16(1500)), name="changed")).errno, "0")
    expect(lab, "a change of both", change((MAC, other), (MTU, u16(9000))), "0")
    expect(lab, "changed", look(), [other, u16(9000)])
    expect(lab, "one of two cannot be", change((MAC, GOOD_MAC), (MAX_VQP, u16(2))), "ENOTSUP")
    lab.load("virtio_net", "virtio_vdpa")
    expect(lab, "a driver uses it", change((MAC, GOOD_MAC)), "EBUSY")
    address = [path.read_text("ascii").strip() for path in Path("/sys/bus/vdpa/devices/changed").glob(
        "virtio*/net/*/address")]
    expect(lab, "the driver's address", address, [other.hex(":")])
    lab.unload("virtio_vdpa")
    expect(lab, "as before", look(), [other, u16(9000)])
    expect(lab, "delete", family.request(DEL, [(NAME, text("changed"))]).errno, "0")

    plain = F_VERSION_1 | F_PLATFORM
    expect(lab, "new, plain", family.request(NEW, new((FEATURES, u64(plain)), name="changed")).errno, "0")
    expect(lab, "MAC address without its feature", change((MAC, GOOD_MAC)), "ENOTSUP")
    expect(lab, "MTU without its feature", change((MTU, u16(1500))), "ENOTSUP")
    expect(lab, "delete", family.request(DEL, [(NAME, text("changed"))]).errno, "0")


def sysfs_directory() -> Case:
    """A device's directory `power` is in a kernel with CONFIG_PM only; the debug kernel has none."""
    taken = Path("/sys/devices", NET, "power").is_dir()
    return Case("new, name of a directory in sysfs", NEW, new(name="power"), EEXIST if taken else 0)


def errors(lab: Lab) -> None:
    """The table, as root, as nobody and elsewhere."""
    cases = [*CASES, sysfs_directory()]
    with Family("vdpa") as family:
        for name, mgmt in (("net", NET), ("blk", BLK)):
            expect(lab, name, family.request(NEW, new(name=name, mgmt=mgmt)).errno, "0")
        features_chosen(lab, family)
        changed(lab, family)
        wrong = [said for case in cases if (said := try_case(lab, family, case))]
    wrong += in_child(lambda: as_nobody(lab))
    wrong += in_child(elsewhere)
    lab.figures["cases"] = len(cases) + len(NOBODY_CASES) + 1
    lab.check(not wrong, "; ".join(wrong))
    expect(lab, "devices left", names(lab), ["blk", "net"])
    complaints = [line for line in subprocess.run(["dmesg"], text=True, capture_output=True,
                                                  check=True).stdout.splitlines()
                  if "sysfs: cannot create" in line or "Call Trace" in line]
    lab.check(not complaints, f"the kernel complains: {complaints}")


def dumped(message: dict[int, bytes]) -> str:
    """The device that a message is about."""
    return message[NAME].rstrip(b"\0").decode()


def dumps(lab: Lab) -> None:
    """A dump shows a permanent device once, while others come and go."""
    with Family("vdpa", buffer=4096) as family, Family("vdpa") as other:
        for command in (GET, CONFIG):
            dump_while_changing(lab, command, family, other)
        expect(lab, "nothing to show", [m for part in family.dump(GET) for m in part], [])


def dump_while_changing(lab: Lab, command: int, family: Family, other: Family) -> None:
    """One dump, in many pieces; the kernel has made the second when the first is read."""
    count = 160
    for index in range(count):
        expect(lab, f"d{index}", other.request(NEW, new(name=f"d{index}")).errno, "0")
    dump = family.dump(command)
    seen = [dumped(message) for message in next(dump)]
    lab.check(0 < len(seen) < count // 2, f"{len(seen)} of {count} in one buffer")
    # of those shown, of the last; then a new one, at the end
    gone = [*seen[:10], seen[-1], f"d{count // 2}", f"d{count - 2}"]
    for name in gone:
        expect(lab, f"delete {name}", other.request(DEL, [(NAME, text(name))]).errno, "0")
    expect(lab, "new", other.request(NEW, new(name="late")).errno, "0")
    buffers = 1
    for messages in dump:
        seen += [dumped(message) for message in messages]
        buffers += 1
    stayed = {f"d{index}" for index in range(count)} - set(gone)
    expect(lab, "shown twice", sorted({name for name in seen if seen.count(name) > 1}), [])
    expect(lab, "not shown", sorted(stayed - set(seen)), [])
    lab.figures[f"buffers_{command}"] = buffers
    for name in names(lab):
        expect(lab, f"delete {name}", other.request(DEL, [(NAME, text(name))]).errno, "0")


def client(serial: int, until: float) -> None:
    """One of many clients: any command, to any client's devices."""
    dice = random.Random(serial)
    done = 0
    with Family("vdpa") as family:
        while time.monotonic() < until:
            name = [(NAME, text(f"c{dice.randrange(6)}"))]
            choice = dice.randrange(8)
            if choice < 3:
                family.request(NEW, [*name, (MGMT_NAME, text(dice.choice((NET, BLK))))])
            elif choice < 5:
                family.request(DEL, name)
            elif choice < 7:
                for _ in family.dump(dice.choice((GET, CONFIG, MGMT_GET))):
                    pass
            else:
                family.request(CONFIG, name)
            done += 1
    os._exit(0 if done > 10 else 1)


def crowd(lab: Lab) -> None:
    """Several at once; some die in the middle; the kernel and its books are in order afterwards."""
    until = time.monotonic() + 15
    pids = []
    for serial in range(6):
        pid = os.fork()
        if pid == 0:
            try:
                client(serial, until + 1000 * (serial >= 4))
            finally:
                os._exit(2)
        pids.append(pid)
    time.sleep(5)
    for pid in pids[4:]:
        os.kill(pid, signal.SIGKILL)
    ended = [os.waitpid(pid, 0)[1] for pid in pids]
    expect(lab, "ends of clients", ended, [0] * 4 + [signal.SIGKILL] * 2)
    with Family("vdpa") as family:
        listed = sorted(dumped(message) for part in family.dump(GET) for message in part)
        expect(lab, "listed", listed, names(lab))
        for name in listed:
            expect(lab, f"delete {name}", family.request(DEL, [(NAME, text(name))]).errno, "0")
    expect(lab, "left", names(lab), [])


#: Hold for our module only.  Debian's 6.12 has other answers, and its dumps lose devices.
OURS = ("errors", "dumps")
PARTS = {"tool": tool, "errors": errors, "dumps": dumps, "crowd": crowd}


def run(lab: Lab, part: str) -> None:
    """One of the parts, and then everything is unloaded."""
    if part in OURS and not lab.modules.is_ours("vdpa"):
        lab.skip("it is about our module vdpa, and this kernel has its own")
    lab.load("vdpa_sim_net", "vdpa_sim_blk")
    PARTS[part](lab)
    lab.modules.unload_all()
