"""Run the Python of a page, in a folder where its figures are to lie: run_page.py PAGE FOLDER."""

import os
import re
import sys
from pathlib import Path


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


if __name__ == "__main__":
    os.environ["MPLBACKEND"] = "agg"
    page = Path(sys.argv[1])
    code = "\n".join(blocks(page.read_text(encoding="utf-8"), "python"))
    os.chdir(sys.argv[2])
    exec(compile(code, str(page), "exec"), {"__name__": "__main__"})
