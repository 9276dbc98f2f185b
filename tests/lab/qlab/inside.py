# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's program inside L1: set up, run one scenario, say how it ended.

Theory of operation
===================

Process 1 of L1 (the initramfs chroots into the host's root and executes this).
It reads request.json from the artefact share, loads KVM with the mode's
parameters, lifts the limits that nested guests run into, and runs the scenario
in a child, so that a scenario that exits, is killed or leaves children behind
cannot take process 1 with it.  Then it ends every process that is left, saves
dmesg, writes the verdict, and powers off.

On the --host-kvm leg the same file runs as an ordinary program on the host:
nothing is loaded, nothing is powered off, and only children of its own are
ended.

*Limits*: no udev; device nodes are what devtmpfs makes.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    __package__ = "qlab"

from . import debugkernel, verdict
from . import scenario as scenarios
from .context import Failed, Lab, Skipped


def modprobe(name: str, params: str = "") -> None:
    """Load a module; the error is modprobe's own."""
    subprocess.run(["/sbin/modprobe", name, *params.split()], check=True)


def set_up(request: dict[str, Any]) -> None:
    """Make L1 fit for nested guests."""
    os.environ.update(PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
                      "/sbin:/bin", HOME="/root", LANG="C.UTF-8", TERM="linux",
                      PYTHONDONTWRITEBYTECODE="1")
    if request.get("kvm_ko"):
        modprobe("irqbypass")
        subprocess.run(["/sbin/insmod", request["kvm_ko"], *request.get("kvm", "").split()], check=True)
    else:
        modprobe("kvm", request.get("kvm", ""))
    modprobe("kvm-amd", request.get("kvm_amd", ""))
    for module in request.get("modules", []):
        modprobe(module)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
    resource.setrlimit(resource.RLIMIT_NOFILE, (65536, 65536))
    Path("/proc/sys/vm/overcommit_memory").write_text("1", "ascii")
    Path("/proc/sys/kernel/hung_task_timeout_secs").write_text(
        str(debugkernel.HUNG_TASK if request.get("debug") else 60), "ascii")


def scenario_child(request: dict[str, Any], out: Path) -> int:
    """The child: run the scenario, leave outcome.json, exit."""
    log = (out / "scenario.log").open("a", buffering=1, encoding="utf-8")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    lab = Lab(request, out, log)
    outcome: dict[str, Any]
    try:
        directory = Path(request["scenarios"])
        cases = scenarios.load_file(directory / f"{request['scenario']}.py")
        case = next(c for c in cases if c.variant == request["variant"])
        case.run(lab, **{**case.params, **request.get("params", {})})
        outcome = {"status": "passed", "reason": ""}
    except Skipped as err:
        outcome = {"status": "skipped", "reason": str(err)}
    except Failed as err:
        outcome = {"status": "failed", "reason": str(err)}
    except BaseException as err:  # pylint: disable=broad-except
        outcome = {"status": "failed",
                   "reason": f"{type(err).__name__}: {err}"}
        traceback.print_exc(file=log)
        if lab.reset_guest():
            outcome["reason"] += f" ({lab.reset_guest()})"
    finally:
        try:
            lab.clean_up()
        except BaseException as err:  # pylint: disable=broad-except
            traceback.print_exc(file=log)
            if outcome["status"] == "passed":
                outcome = {"status": "failed", "reason": f"clean-up: {err}"}
    outcome["figures"] = lab.figures
    (out / "outcome.json").write_text(json.dumps(outcome), "utf-8")
    log.flush()
    return 0


def await_child(pid: int) -> int:
    """Its status.  Process 1 reaps orphans meanwhile: libvirtd waits 40 s for a QEMU that it has
    killed, and takes a zombie for one that lives."""
    ended = status = 0
    while ended != pid:
        ended, status = os.waitpid(-1 if os.getpid() == 1 else pid, 0)
    return status


def run_scenario(request: dict[str, Any], out: Path) -> dict[str, Any]:
    """Run the scenario in a child; its outcome."""
    (out / "outcome.json").unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setsid()
            code = scenario_child(request, out)
        finally:
            os._exit(code)
    status = await_child(pid)
    try:
        outcome: dict[str, Any] = json.loads((out / "outcome.json").read_text("utf-8"))
        return outcome
    except (OSError, ValueError):
        return {"status": "failed",
                "reason": f"the scenario's process ended with {status:#x}"}


def end_everything() -> None:
    """Kill what the scenario left behind, wait for it (process 1 reaps)."""
    os.kill(-1, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.02)
        except ChildProcessError:
            return


def shell() -> None:
    """A prompt on the console."""
    print("The lab's L1; the host's root is here, writes go to RAM. "
          "Leave with exit.", flush=True)
    subprocess.call(["/usr/bin/setsid", "-c", "/bin/bash", "-il"],
                    cwd=str(scenarios.SCENARIO_DIR.parent))


def power_off() -> None:
    """End L1 (the emulator runs with -no-reboot)."""
    os.sync()
    Path("/proc/sysrq-trigger").write_text("b", "ascii")
    time.sleep(60)


def in_l1(out: Path, request: dict[str, Any]) -> None:
    """Life of L1's process 1."""
    channel: TextIO = open("/dev/ttyS1", "w", buffering=1, encoding="utf-8")
    subprocess.run(["stty", "-F", "/dev/ttyS1", "raw", "-echo"], check=False)
    channel.write(verdict.line("up"))
    try:
        set_up(request)
        if request.get("shell"):
            shell()
            return
        outcome = run_scenario(request, out)
        end_everything()
        if request.get("debug"):
            debugkernel.check(out)
    except Exception as err:  # pylint: disable=broad-except
        outcome = {"status": "failed", "reason": f"inside L1: {err}"}
    with (out / "dmesg.log").open("w", encoding="utf-8") as dmesg:
        subprocess.run(["dmesg"], stdout=dmesg, check=False)
    channel.write(verdict.line("figures", **outcome.get("figures", {})))
    channel.write(verdict.line("verdict", status=outcome["status"],
                               reason=outcome["reason"]))
    channel.flush()
    subprocess.run(["sync"], check=False)
    time.sleep(0.1)


def main() -> int:
    """Entry: `inside.py OUT` in L1, `inside.py --host OUT` on the host."""
    out = Path(sys.argv[-1])
    request = json.loads((out / "request.json").read_text("utf-8"))
    if "--host" in sys.argv:
        outcome = run_scenario(request, out)
        return {"passed": 0, "skipped": 77}.get(outcome["status"], 1)
    try:
        in_l1(out, request)
    finally:
        power_off()
    return 0


if __name__ == "__main__":
    sys.exit(main())
