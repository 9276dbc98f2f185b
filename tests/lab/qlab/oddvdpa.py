# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMUs whose simulated device behaves oddly; how, is said in preload/odd-vdpa.c.

A guest's QEMU is a path to the lab (l2.GuestSpec), so binary() makes a script that preloads
the library and becomes QEMU.

*Limits*: those of the library.
"""

from __future__ import annotations

from pathlib import Path

from .context import Lab


def binary(lab: Lab, how: str, qemu: Path | None = None) -> Path:
    """A QEMU (ours, if nothing is said) that finds its devices to be that odd."""
    library = lab.guest_dir / "odd-vdpa.so"
    lab.check(library.exists(), f"{library} is missing; ninja -C build/meson guest builds it")
    script = lab.tmp / f"{lab.next_name('odd')}.sh"
    script.write_text(f"#!/bin/sh\nLD_PRELOAD='{library}' ODD_VDPA='{how}' "
                      f"exec '{qemu or lab.qemu}' \"$@\"\n", encoding="utf-8")
    script.chmod(0o755)
    return script
