"""Puts a real run of the demo into README: `python tests/write_readme.py`."""

import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- demo -->\n```\n", "```\n<!-- /demo -->"

if __name__ == "__main__":
    told = subprocess.run(
        [sys.executable, "-m", "gateway", "demo", "--once"], check=True, capture_output=True, text=True
    )
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}{told.stdout}{END}{after}", encoding="utf-8")
