# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab: a nested machine under software emulation, and its scenarios.

Theory of operation
===================

Three layers of machine:

    L0  the host that runs `lab`; starts the outer emulator
    L1  Debian's kernel under that emulator (TCG, SVM exposed): has /dev/kvm
    L2  the nested guests that scenarios start with the QEMU under test

On L0 run host.py (command line), machine.py (builds and watches L1),
initramfs.py, klog.py, verdict.py.  In L1 run inside.py (the scenario's
process) and what scenarios import: l2.py (guests), qmp.py, payload.py,
oracle.py, migrate.py.  modes.py and scenario.py are data shared by both.

*Limits*: x86-64 hosts only; L1 sees the host's root file system as it is
while the scenario runs, so what is rebuilt meanwhile changes under it.
"""
