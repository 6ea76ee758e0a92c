#!/usr/bin/env python3
"""Compiles each program of examples/, which must fail, and looks for what it says at //~."""

import pathlib
import subprocess
import sys

here = pathlib.Path(__file__).parent
failed = 0
for program in sorted(here.glob("examples/*.rs")):
    wanted = [line[4:].strip() for line in program.read_text().splitlines() if line.startswith("//~ ")]
    assert wanted, f"{program} expects nothing"
    check = subprocess.run(
        ["cargo", "check", "--quiet", "--example", program.stem],
        cwd=here, capture_output=True, text=True,
    )
    missing = [text for text in wanted if text not in check.stderr]
    if check.returncode == 0 or missing:
        failed += 1
        print(f"{program.name}: {'compiles' if check.returncode == 0 else 'does not say'}", *missing, sep="\n  ")
        print(check.stderr)
    else:
        print(f"{program.name}: ok")
sys.exit(bool(failed))
