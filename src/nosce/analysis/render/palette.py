"""The colours of pages, figures and terminal: one language, told apart by colour-blind readers.

Those of series and verdicts are of Okabe and Ito (2008). A verdict is a word and a sign as well, so that no colour
carries a meaning alone. `look.css` has darker and lighter tones of the same hues, in which words are read.
"""

from __future__ import annotations

from nosce.records import Decision

# Without black (the baseline) and with yellow last, as it is weak on white.
SERIES = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
VERDICT_COLORS: dict[Decision, str] = {"holds": "#009E73", "fails": "#D55E00", "undecided": "#767676"}
INK, FAINT, GRID = "#222222", "#767676", "#e2e2e2"
DARK_GROUND, DARK_INK, DARK_FAINT, DARK_GRID = "#1b1f24", "#e4e7eb", "#a3abb5", "#353b43"

_DARK_OF = {INK: DARK_INK, FAINT: DARK_FAINT, GRID: DARK_GRID, "black": DARK_INK, "#000000": DARK_INK}


def _dark_rules() -> str:
    """Matplotlib writes colours into the style of each element; a rule marked important is stronger."""
    rules = [f"#patch_1 path{{fill:{DARK_GROUND}!important}}", f"text:not([style*='fill']){{fill:{DARK_INK}}}"]
    for light, dark in _DARK_OF.items():
        for property_ in ("fill", "stroke"):
            rules.append(f"[style*='{property_}: {light}']{{{property_}:{dark}!important}}")
    rules.append(f"[style*='stroke: #ffffff']{{stroke:{DARK_GROUND}!important}}")
    return "".join(rules)


#: A style sheet inside a figure; a viewer that knows none of it shows the figure as on paper.
DARK_SCREEN_STYLE = f"@media screen and (prefers-color-scheme: dark){{{_dark_rules()}}}"
