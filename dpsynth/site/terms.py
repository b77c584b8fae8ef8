"""The glossary's terms, and where a page first uses one of them."""

import re
from collections.abc import Sequence

# What stays as it is: headings, code, maths, links, and what stands in a directive or a table.
KEPT = r"^```.*?^```|^#.*?$|^\|.*?$|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|!?\[[^\]]*\]\([^)]*\)"


def terms(glossary: str) -> list[str]:
    """The terms that a glossary page in MyST defines, in order.

    >>> terms("```{glossary}\\nepsilon\\n  A number.\\n\\nclipping norm\\n  Another.\\n```")
    ['epsilon', 'clipping norm']
    """
    inside = re.search(r"^```\{glossary\}\n(.*?)^```", glossary, re.DOTALL | re.MULTILINE)
    return re.findall(r"^(?!:)(\S.*)$", inside[1], re.MULTILINE) if inside else []


def linked(text: str, names: Sequence[str], used: set[str]) -> str:
    """`text` with the first use of each term made a reference to the glossary.

    Args:
        used: the terms that the page has used before; is added to.

    >>> linked("Noise of this noise multiplier, `noise multiplier`.", ["noise multiplier"], set())
    'Noise of this {term}`noise multiplier`, `noise multiplier`.'
    """
    if not names:
        return text
    longest_first = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))

    def piece(match: re.Match) -> str:
        name = match["name"]
        if name is None or name in used:
            return match[0]
        used.add(name)
        return f"{{term}}`{name}`"

    pattern = rf"{KEPT}|(?<![\w-])(?P<name>{longest_first})(?![\w-])"
    return re.sub(pattern, piece, text, flags=re.DOTALL | re.MULTILINE)
