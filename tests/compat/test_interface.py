# SPDX-License-Identifier: GPL-2.0-or-later
"""Ours offers to users and management everything that stock QEMU offers.

Theory of operation
===================

Both binaries get the same queries.  Nothing in stock's answer may be missing or different in ours.  Ours may
have more, except in the migration stream and in the defaults of a machine type.

*Limits*: announcements, not behaviour; help texts are compared where they are lists.
"""

from __future__ import annotations

import json
import re
import tempfile
import unittest
from pathlib import Path
from typing import Any

import binaries
from binaries import OURS, STOCK, ask, qmp, run
from superset import Comparison, Schema

MACHINES = ("pc", "q35", "microvm")


def setUpModule() -> None:
    """Fail if a binary is missing."""
    binaries.require()


def by(key: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A list of objects as a table."""
    return {row[key]: row for row in rows}


class Interface(unittest.TestCase):
    """One query per test."""

    maxDiff = 4000

    def keeps(self, old: dict[str, Any], new: dict[str, Any], what: str) -> None:
        """Check that NEW has everything of OLD, unchanged."""
        self.assertTrue(old, f"{what}: stock says nothing")
        gone = sorted(old.keys() - new.keys())
        self.assertFalse(gone, f"{what}: missing")
        changed = [(name, old[name], new[name]) for name in old if old[name] != new[name]]
        self.assertFalse(changed, f"{what}: changed")

    def both(self, command: str, **arguments: Any) -> tuple[Any, Any]:
        """Stock's answer and ours."""
        return ask(STOCK, command, **arguments), ask(OURS, command, **arguments)

    def test_qmp_schema(self) -> None:
        old, new = (Schema(answer) for answer in self.both("query-qmp-schema"))
        self.assertGreater(len(old.named("command")), 100)
        self.assertEqual(list(Comparison(old, new).missing()), [])

    def test_command_line_options(self) -> None:
        old, new = (by("option", answer) for answer in self.both("query-command-line-options"))
        self.assertEqual(sorted(old.keys() - new.keys()), [])
        for option, entry in old.items():
            self.keeps(by("name", entry["parameters"]) or {"": None},
                       {"": None, **by("name", new[option]["parameters"])}, f"-{option}")

    def test_help(self) -> None:
        stock, ours = (run(binary, "-help").stdout for binary in (STOCK, OURS))
        self.assertEqual(stock, re.sub(r" \(qemu-live [^()]*\)", "", ours, count=1))

    def test_lists(self) -> None:
        """-netdev help and similar: this branch has each line of stock's."""
        for words in (("-netdev", "help"), ("-machine", "help"), ("-cpu", "help"),
                      ("-object", "help"), ("-chardev", "help"), ("-device", "help"),
                      ("-device", "virtio-net-pci,help"), ("-device", "vhost-vdpa-device-pci,help"),
                      *(("-machine", f"{name},help") for name in MACHINES)):
            with self.subTest(words=" ".join(words)):
                old, new = (run(binary, "-machine", "none", *words) for binary in (STOCK, OURS))
                self.assertEqual(new.returncode, old.returncode)
                self.assertTrue(old.stdout)
                self.assertFalse(set(old.stdout.splitlines()) - set(new.stdout.splitlines()))

    def test_machine_types(self) -> None:
        """With the properties that old machine types give to devices."""
        old, new = self.both("query-machines", **{"compat-props": True})
        self.assertEqual(by("name", old).keys(), by("name", new).keys())
        self.keeps(by("name", old), by("name", new), "machine types")

    def test_cpu_models(self) -> None:
        old, new = self.both("query-cpu-definitions")
        self.keeps(by("name", old), by("name", new), "CPU models")

    def test_types(self) -> None:
        old, new = self.both("qom-list-types")
        self.keeps(by("name", old), by("name", new), "types")

    def test_devices(self) -> None:
        """Every device's properties; virtio-net and vhost-vdpa have to be among them."""
        names = sorted(row["name"] for row in
                       ask(STOCK, "qom-list-types", implements="device", abstract=False))
        for name in ("virtio-net-pci", "vhost-vdpa-device-pci"):
            self.assertIn(name, names)
        commands = [{"execute": "device-list-properties", "arguments": {"typename": name}}
                    for name in names]
        for name, old, new in zip(names, qmp(STOCK, commands), qmp(OURS, commands)):
            if "error" in old:
                continue        # no device that a user can make
            self.keeps(by("name", old["return"]) or {"": None},
                       {"": None, **by("name", new["return"])}, name)

    def test_accelerator(self) -> None:
        """Names and types; the description of dirty-ring-size is ours."""
        old, new = ({row["name"]: row["type"] for row in answer} for answer in
                    self.both("qom-list-properties", typename="kvm-accel"))
        self.keeps(old, new, "kvm-accel")

    def test_human_monitor(self) -> None:
        """HMP commands, those of `info`, and `info network` of a netdev."""
        for line in ("help", "help info"):
            command = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
            (old,), (new,) = (qmp(binary, [command]) for binary in (STOCK, OURS))
            self.assertGreater(len(old["return"].splitlines()), 20, line)
            self.assertFalse(set(old["return"].splitlines()) - set(new["return"].splitlines()),
                             line)

    def test_migration_stream(self) -> None:
        """The migrated state of each device is exactly stock's."""
        for name in MACHINES:
            with self.subTest(machine=name), tempfile.TemporaryDirectory() as folder:
                tables = []
                for binary in (STOCK, OURS):
                    path = Path(folder) / binary.parent.name
                    done = run(binary, "-machine", name, "-nodefaults", "-dump-vmstate", str(path))
                    self.assertEqual(done.returncode, 0, done.stderr)
                    tables.append(json.loads(path.read_text("utf-8")))
                self.assertGreater(len(tables[0]), 50)
                self.keeps(*tables, f"vmstate of {name}")
