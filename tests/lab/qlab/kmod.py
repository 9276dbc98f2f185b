# SPDX-License-Identifier: GPL-2.0-or-later
"""Our kernel modules inside L1: loaded in order, unloaded in the opposite one.

Theory of operation
===================

build/kernel/VERSION holds the modules (scripts/build-kernel); L1 sees it through its root file
system.  What a module imports from is in the module itself (modinfo's `depends`).  A module of this repository
is inserted from there, after those it depends on; any other is the stock kernel's and is left to modprobe,
after those of its dependencies that we replace: modprobe would take the stock one of the same name.

    load("vdpa_sim_net")                      vhost_iotlb vringh vdpa vdpa_sim vdpa_sim_net
    load("vhost_vdpa")                        + the stock vhost, on our vhost_iotlb
    load("vdpa_sim_net", vdpa_sim="x=1")      parameters of modules, by module name

*Limits*: one process at a time; a module that was loaded before stays as it is, parameters
included.
"""

from __future__ import annotations

import subprocess
from pathlib import Path


class ModuleError(Exception):
    """A module could not be loaded or unloaded; the text has the tool's words."""


def tool(*command: str) -> str:
    """Run one of kmod's programs; what it printed."""
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise ModuleError(f"{' '.join(command)}: {said}")
    return done.stdout


def is_loaded(name: str) -> bool:
    """Whether the kernel has the module, or has it built in."""
    return Path("/sys/module", name).exists()


class Modules:
    """The modules of one directory, and which of them were loaded here."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        #: In the order of loading, stock ones that came with ours among them.
        self.loaded: list[str] = []

    def path(self, name: str) -> Path:
        """The file of a module, if it is one of this repository."""
        return self.directory / f"{name}.ko"

    def is_ours(self, name: str) -> bool:
        """Whether we have built a module of that name."""
        return self.path(name).exists()

    def all(self) -> list[str]:
        """Names of all modules of this repository, each after those it depends on."""
        order: list[str] = []
        for path in sorted(self.directory.glob("*.ko")):
            self._order(path.stem, order)
        return order

    def _order(self, name: str, order: list[str]) -> None:
        for other in self.needs(name):
            if self.is_ours(other):
                self._order(other, order)
        if name not in order:
            order.append(name)

    def needs(self, name: str) -> list[str]:
        """The modules that a module of this repository imports from."""
        listed = tool("/sbin/modinfo", "-F", "depends", str(self.path(name)))
        return [word for word in listed.strip().split(",") if word]

    def load(self, name: str, params: dict[str, str]) -> None:
        """Load a module and what it needs; nothing if it is there already."""
        if is_loaded(name):
            return
        if not self.is_ours(name):
            self._load_stock(name, params)
            return
        for other in self.needs(name):
            self.load(other, params)
        tool("/sbin/insmod", str(self.path(name)), *params.get(name, "").split())
        self.loaded.append(name)

    def _load_stock(self, name: str, params: dict[str, str]) -> None:
        shown = tool("/sbin/modprobe", "--show-depends", name)
        stock: list[str] = []
        for line in shown.splitlines():
            words = line.split()
            if words[:1] != ["insmod"]:
                continue
            other = Path(words[1]).name.split(".ko")[0].replace("-", "_")
            if other != name and self.is_ours(other):
                self.load(other, params)
            elif not is_loaded(other):
                stock.append(other)
        tool("/sbin/modprobe", name, *params.get(name, "").split())
        self.loaded += stock

    def unload(self, name: str) -> None:
        """Unload one module."""
        tool("/sbin/rmmod", name)
        if name in self.loaded:
            self.loaded.remove(name)

    def unload_all(self) -> None:
        """Unload what was loaded here, last first."""
        for name in reversed(list(self.loaded)):
            self.unload(name)
