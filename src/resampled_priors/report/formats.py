"""A table as a reader gets it: Markdown, LaTeX and HTML, each whole as it stands."""

import html

import pandas as pd

LATEX_SYMBOLS = {
    "−": "$-$", "±": r"$\pm$", "∞": r"$\infty$", "°": r"$^\circ$", "†": r"$^\dagger$",
    "‡": r"$^\ddagger$", "—": "---", "\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}",
    "ε": r"$\varepsilon$", "×": r"$\times$", "≤": r"$\le$",
}  # fmt: skip
HTML_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<title>Table {number}</title>
<style>
body {{ font: 14px sans-serif; margin: 1.5em; }}
p {{ max-width: 60em; }}
table {{ border-collapse: collapse; border-block: 2px solid; }}
th, td {{ padding: 0.3em 0.8em; text-align: right; }}
thead th {{ border-bottom: 1px solid; }}
tbody th {{ text-align: left; font-weight: normal; }}
</style>
</head>
<body>
<p><b>Table {number}.</b> {heading}</p>
{table}
{notes}
</body>
</html>
"""
FIT_TO_PAGE = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}"


def to_markdown(wide: pd.DataFrame, number: str, heading: str, lines: list[str]) -> str:
    """A heading, the table and its notes."""
    title = f"**Table {number}.** {heading}"
    return "\n\n".join([title, wide.to_markdown(disable_numparse=True), *lines]) + "\n"


def to_latex(wide: pd.DataFrame, heading: str, lines: list[str]) -> str:
    """A whole document that compiles as it is (booktabs)."""
    escape = {letter: rf"\{letter}" for letter in "_%&#${}"} | LATEX_SYMBOLS

    def latex(text: str) -> str:
        return "".join(escape.get(letter, letter) for letter in text)

    wide = wide.rename(index=latex, columns=latex).map(latex)
    tabular = wide.to_latex(escape=False, column_format="l" + "r" * wide.shape[1])
    below = "\n\n".join(latex(line) for line in lines)
    return "\n".join(
        [
            r"\documentclass{article}",
            r"\usepackage{booktabs,graphicx}",
            r"\usepackage[landscape,margin=15mm]{geometry}",
            r"\pagestyle{empty}",
            r"\begin{document}",
            r"\centering\small",
            latex(heading) + r"\par\medskip",
            FIT_TO_PAGE + "{%",
            tabular.strip() + r"}\par\medskip",
            r"\raggedright\footnotesize",
            below,
            r"\end{document}",
            "",
        ]
    )


def to_html(wide: pd.DataFrame, number: str, heading: str, lines: list[str]) -> str:
    """A page that stands alone: what the workflow's report shows."""
    return HTML_PAGE.format(
        number=html.escape(number),
        heading=html.escape(heading),
        table=wide.to_html(border=0),
        notes="\n".join(f"<p>{html.escape(line)}</p>" for line in lines),
    )
