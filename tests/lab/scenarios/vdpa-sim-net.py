# SPDX-License-Identifier: GPL-2.0-or-later
"""A process drives a simulated NIC through /dev/vhost-vdpa-N.

Numbered frames have to come back whole, each once and in order, through one pair and through
several, while the device is suspended and resumed in mid-traffic, and while it is suspended, reset
and begun again from the positions it reported, by turns with queues that are enabled before
DRIVER_OK and after it.  Every control command has to answer and to filter as the specification says.
Rings full of rubbish may break the device until it is reset, and nothing else.

*Limits*: the rate is that of an emulated machine: good for comparison on one host only.
"""

from pathlib import Path

from qlab import simdrive
from qlab.context import Lab
from qlab.scenario import DEBUG, Scenario

SCENARIO = Scenario(
    about="frames and control commands through a simulated NIC, suspended in mid-traffic",
    time_limit=240,
    needs=("kernel-modules",),
    suites=("full", "kernel"),
    append=DEBUG,
    l1_mem=1536,
    own_binaries=True,
    variants={
        "one": {"pairs": 1, "batch": "1"},
        "pairs": {"pairs": 4, "batch": "1"},
        "pieces": {"pairs": 2, "batch": "0"},
        "rate": {"pairs": 1, "batch": "1", "only_rate": True},
    },
    short=("pairs",),
)

FRAMES = 4000
ROUNDS = 8


def link_knob(lab: Lab, sim: simdrive.Sim) -> None:
    """The link knob is seen in the configuration space."""
    for state, bit in (("0", 0), ("1", 1)):
        sim.knob("net0", "link").write_text(state, "ascii")
        config = simdrive.answer("dev", "config", "show", "net0")["config"]["net0"]
        shown = {key.strip(): value for key, value in config.items()}    # iproute2 says "link "
        lab.check(shown.get("link") == ("up" if bit else "down"), f"link {state}: {shown}")


def run(lab: Lab, pairs: int, batch: str, only_rate: bool = False) -> None:
    """All of it; or only the rate, which the base's simulator can do as well (--modules)."""
    sim = simdrive.Sim(lab, "net", vdpa_sim=f"batch_mapping={batch}")
    sim.add("net0", "mac", "52:54:00:11:22:33", *(["max_vqp", str(pairs)] if pairs > 1 else []))
    lab.defer(lambda: sim.delete("net0"))
    node: Path = sim.node("net0")
    if only_rate:
        for size in (30, 1400):
            rates = [simdrive.run(lab, "net", node, "rate", 1, 3, size)["rate"] for _ in range(3)]
            lab.figures[f"rate {size}"] = sorted(rates)[1]
        return
    figures = simdrive.run(lab, "net", node, "flow", pairs, FRAMES, ROUNDS)
    lab.check(figures["suspensions"] == ROUNDS, f"{figures}")
    figures = simdrive.run(lab, "net", node, "flow", pairs, FRAMES, ROUNDS, "reset")
    lab.check(figures["late"] == ROUNDS // 2, f"queues enabled after DRIVER_OK: {figures}")
    if pairs > 1:
        lab.figures |= simdrive.run(lab, "net", node, "ctrl", pairs)
    else:
        lab.figures |= simdrive.run(lab, "hostile", node, 100, 1)
    lab.figures |= simdrive.run(lab, "net", node, "rate", pairs, 3)
    link_knob(lab, sim)
