"""Tables in Markdown: the one writer of those that commands print and save."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], padded: bool = True) -> str:
    """Cells as a table in Markdown.

    Args:
        rows: Rows of cells, all of one length; the first one is the header.
        padded: Whether the cells of a column are padded to one width, to be read as text.

    Returns:
        The lines of the table, without a newline after the last.

    Raises:
        ValueError: If there is no header, or a row has more or fewer cells than it.
    """
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(f"a table needs a header and rows of its length, not rows of {[len(row) for row in rows]}")
    widths = [max(map(len, column)) if padded else 0 for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 2 if padded else 3) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
