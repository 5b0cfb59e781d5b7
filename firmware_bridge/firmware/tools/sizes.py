"""What the library costs on a target: linked images, so only what is used counts.

    python tools/sizes.py [--budgets] MONOCYPHER

Prints the table of the README; with --budgets nothing, and only the Cortex-M4 is measured. What it
has over its budget, or over the regression limit where the budget is missed, ends in an error.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent.parent


class Target(NamedTuple):
    """A compiler and what tells it the processor."""

    title: str
    prefix: str
    flags: tuple[str, ...]


TARGETS = (
    Target("Cortex-M0", "arm-none-eabi-", ("-mthumb", "-mcpu=cortex-m0")),
    Target("Cortex-M3", "arm-none-eabi-", ("-mthumb", "-mcpu=cortex-m3")),
    Target("Cortex-M4", "arm-none-eabi-", ("-mthumb", "-mcpu=cortex-m4")),
    Target(
        "RV32IMAC",
        "riscv64-unknown-elf-",
        (*("-misa-spec=2.2", "-march=rv32imac", "-mabi=ilp32", "--specs=picolibc.specs"),),
    ),
)


class Part(NamedTuple):
    """A line of the table: the entry points of an image, and its budget in bytes of flash."""

    title: str
    entries: tuple[str, ...]
    budget: int | None
    over: int | None = None
    """Index of the part whose size is taken off: what this one adds."""
    regression_limit: int | None = None
    """Where the budget is missed: what was reached, which is held until the budget is."""


CORE = ("depin_init", "depin_add", "depin_seal")
ED25519 = ("depin_ed25519_sign", "depin_ed25519_hash")
HASH = ("depin_software_hash",)
CHECKS = ("depin_check_config", "depin_check_reading")
DOWNLINK = ("depin_downlink_init", "depin_downlink_take")
VERIFY = ("depin_ed25519_verify", "depin_ed25519_admit")
IDENTITY = (
    "depin_did",
    "depin_cose_key",
    "depin_enrolment_document",
    "depin_enrolment_statement",
    "depin_challenge_statement",
    "depin_attest_statement",
)
LIFE = ("depin_position_create", "depin_position_resume_nonce", "depin_position_resume")
# The core is above its budget: this is no budget, only what it must not grow beyond.
CORE_LIMIT = 2900
PARTS = (
    Part("core: init, add, seal, position; key and hash outside", CORE, 2048, None, CORE_LIMIT),
    Part("core with Ed25519 and both hashes in software", CORE + ED25519, 12288),
    Part("+ SHA-256 in software, for a key outside", CORE + HASH, None, 0),
    Part("+ a low s, where a P-256 chip does not see to it", (*CORE, "depin_p256_low"), None, 0),
    Part("+ checks of names, units and configuration", CORE + CHECKS, None, 0),
    Part("+ status and evidence", CORE + ("depin_seal_bytes",), None, 0),
    Part("+ position at provisioning and after a loss", CORE + LIFE, None, 0),
    Part("+ identity, enrolment and attestation", CORE + IDENTITY, None, 0),
    Part("+ Ed25519 verification", CORE + ED25519 + VERIFY, None, 1),
    Part("+ downlink module, verified outside", CORE + LIFE + HASH + DOWNLINK, 3072, -1),
)
# What the downlink's line is over: an image that can resume and hash already.
UNDER_DOWNLINK = Part("", CORE + LIFE + HASH, None)
MAX_STACK = 2048
STACKS = (
    ("depin_seal", "peak stack, sealing with Ed25519", f"{MAX_STACK:,}"),
    ("depin_ed25519_verify", "peak stack, verifying Ed25519", ""),
    ("depin_downlink_take", "peak stack, downlink with Ed25519", f"{MAX_STACK:,}"),
)
LIBC = {"memcpy", "memset", "memcmp"}


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


def _objects(target: Target, build: Path, monocypher: Path) -> list[str]:
    flags = ["-std=c99", "-Os", "-ffreestanding", "-ffunction-sections", "-fdata-sections"]
    flags += ["-fcallgraph-info=su"]
    flags += [
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        f"-I{HERE / 'include'}",
        f"-I{monocypher}",
    ]
    made = []
    for source in sorted((HERE / "src").glob("*.c")):
        made.append(str(build / f"{source.stem}.o"))
        _run(f"{target.prefix}gcc", *target.flags, *flags, "-c", str(source), "-o", made[-1])
    return made


def _link(target: Target, build: Path, objects: list[str], entries: tuple[str, ...]) -> Path:
    """An image of what the entries reach; what it lacks is left open, to be looked at."""
    image = build / "image.elf"
    keep = [f"-Wl,-u,{entry}" for entry in entries]
    options = ["-nostdlib", "-Wl,--gc-sections", "-Wl,--unresolved-symbols=ignore-all"]
    options += ["-Wl,-e,depin_init", "-Wl,--no-warn-rwx-segments"]
    _run(f"{target.prefix}gcc", *target.flags, *options, *keep, *objects, "-o", str(image))
    return image


def _sections(target: Target, image: Path) -> tuple[int, int]:
    """Bytes of flash, and of static RAM."""
    flash = ram = 0
    listing = _run(f"{target.prefix}size", "-A", str(image))
    for name, size in re.findall(r"^(\.\S+)\s+(\d+)\s", listing, re.MULTILINE):
        if name.startswith((".text", ".rodata", ".srodata")):
            flash += int(size)
        elif name.startswith((".data", ".sdata", ".bss", ".sbss")):
            ram += int(size)
    return flash, ram


def _missing(target: Target, objects: list[str], build: Path, entries: tuple[str, ...]) -> set[str]:
    """What an image of these entries takes from elsewhere."""
    image = _link(target, build, objects, entries)
    names = _run(f"{target.prefix}nm", "-u", str(image)).split()
    return {name for name in names if name != "U"} - LIBC


_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes \(')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')


def _peak(build: Path, entry: str) -> int:
    """The deepest stack of a call, by what the compiler says of each function and whom it calls.

    A call through a pointer is taken for Ed25519 in software, the deepest of what may stand there:
    the downlink module verifies, everything else signs.
    """
    frames: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    for graph in sorted(build.glob("*.ci")):
        text = graph.read_text()
        # Functions of one file have its name in front.
        frames.update({name: int(size) for name, size in _NODE.findall(text)})
        for caller, called in _EDGE.findall(text):
            calls.setdefault(caller, set()).add(called)
    # What is called through pointers: a signer's callbacks, and in two places something else.
    calls["__indirect_call"] = {VERIFY[0]} if entry in DOWNLINK else set(ED25519)
    calls["depin_put_pack"].discard("__indirect_call")
    calls["depin_put_pack"].add("depin_secondary_unit")
    calls["depin_seal"].add("depin_put_pack_in_seal")
    frames["depin_put_pack_in_seal"] = sum(
        frame for name, frame in frames.items() if name.endswith(":seal")
    )
    calls["depin_put_pack_in_seal"] = {"depin_put_pack"}
    for caller in calls:
        if caller.endswith(":admitted"):
            calls[caller] = {VERIFY[1]}
    known: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in known:
            known[name] = 0
            below = max((depth(called) for called in calls.get(name, ())), default=0)
            known[name] = frames.get(name, 0) + below
        return known[name]

    return depth(entry)


class Measured(NamedTuple):
    """Of one target: flash by part (None: not there), static RAM, helpers, deepest stacks."""

    flash: list[int | None]
    ram: int
    helpers: set[str]
    stacks: list[int]


def measure(target: Target, monocypher: Path) -> Measured:
    """Compile and link everything for a target."""
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder)
        objects = _objects(target, build, monocypher)
        has_downlink = any(name.endswith("/downlink.o") for name in objects)
        flash: list[int | None] = []
        ram = 0
        for part in PARTS:
            if not has_downlink and DOWNLINK[0] in part.entries:
                flash.append(None)
                continue
            size, static = _sections(target, _link(target, build, objects, part.entries))
            flash.append(size)
            ram = max(ram, static)
        # The last of the list, so that -1 means it.
        flash.append(_sections(target, _link(target, build, objects, UNDER_DOWNLINK.entries))[0])
        every = tuple(
            entry
            for part in PARTS
            for entry in part.entries
            if has_downlink or entry not in DOWNLINK
        )
        stacks = [_peak(build, entry) for entry, _, _ in STACKS]
        return Measured(flash, ram, _missing(target, objects, build, every), stacks)


def added(measured: Measured, index: int) -> int | None:
    """What a line of the table says."""
    size, over = measured.flash[index], PARTS[index].over
    base = None if over is None else measured.flash[over]
    return size if size is None or base is None else size - base


def table(rows: list[tuple[Target, Measured]]) -> str:
    """The table in Markdown: bytes of flash at -Os."""
    lines = ["| bytes of flash | " + " | ".join(target.title for target, _ in rows) + " | budget |"]
    lines.append("|---|" + "--:|" * (len(rows) + 1))
    for index, part in enumerate(PARTS):
        cells = [added(measured, index) for _, measured in rows]
        shown = " | ".join("-" if cell is None else f"{cell:,}" for cell in cells)
        budget = "" if part.budget is None else f"{part.budget:,}"
        of_m4 = next(added(m, index) for target, m in rows if target.title == "Cortex-M4")
        if part.budget is not None and of_m4 is not None and of_m4 > part.budget:
            budget += f", missed by {of_m4 - part.budget:,}"
        lines.append(f"| {part.title} | {shown} | {budget} |")
    ram = " | ".join(str(measured.ram) for _, measured in rows)
    lines.append(f"| static RAM | {ram} | 0 |")
    for index, (_, title, allowed) in enumerate(STACKS):
        cells_of = " | ".join(f"{measured.stacks[index]:,}" for _, measured in rows)
        lines.append(f"| {title} | {cells_of} | {allowed} |")
    helpers = " | ".join(", ".join(sorted(m.helpers)) or "none" for _, m in rows)
    lines.append(f"| helpers of the compiler | {helpers} | none |")
    return "\n".join(lines)


def exceeded(measured: Measured) -> list[str]:
    """What is over a budget, in words."""
    found = []
    for index, part in enumerate(PARTS):
        size = added(measured, index)
        allowed = part.regression_limit or part.budget
        if size is not None and allowed is not None and size > allowed:
            found.append(f"{part.title}: {size:,} bytes of flash, {allowed:,} are allowed")
    for (_, title, bound), stack in zip(STACKS, measured.stacks, strict=True):
        if bound and stack > MAX_STACK:
            found.append(f"{title}: {stack:,} bytes, {MAX_STACK:,} are allowed")
    if measured.ram:
        found.append(f"{measured.ram} bytes of static RAM, none are allowed")
    if measured.helpers:
        found.append(
            "needs more than memcpy, memset, memcmp: " + ", ".join(sorted(measured.helpers))
        )
    return found


def main(arguments: list[str]) -> int:
    """Print the table, or check the budgets."""
    budgets = "--budgets" in arguments
    names = [argument for argument in arguments if not argument.startswith("--")]
    if len(names) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    targets = [target for target in TARGETS if not budgets or target.title == "Cortex-M4"]
    rows = [(target, measure(target, Path(names[0]))) for target in targets]
    if not budgets:
        print(table(rows))
    found = [
        line
        for target, measured in rows
        if target.title == "Cortex-M4"
        for line in exceeded(measured)
    ]
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
