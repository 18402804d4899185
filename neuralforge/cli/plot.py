"""A curve drawn in the terminal with braille dots, two across and four down to a character cell."""

from collections.abc import Sequence

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def curve(points: Sequence[tuple[float, float]], *, width: int = 60, height: int = 10) -> list[str]:
    """Draw ``points`` (x, y) joined by lines, with the range of y at the left and of x below.

    Args:
        points: at least one finite point; x ascending.
        width: characters across for the curve itself.
        height: lines for the curve itself.
    """
    if not points:
        return []
    left, right = points[0][0], points[-1][0]
    low, high = min(y for _, y in points), max(y for _, y in points)
    columns, rows = width * 2 - 1, height * 4 - 1
    cells = [[0] * width for _ in range(height)]

    def place(x: float, y: float) -> tuple[int, int]:
        across = (x - left) / (right - left) if right > left else 0.0
        up = (y - low) / (high - low) if high > low else 0.5
        return round(across * columns), round((1 - up) * rows)

    previous = place(*points[0])
    for point in points:
        here = place(*point)
        steps = max(abs(here[0] - previous[0]), abs(here[1] - previous[1]), 1)
        for step in range(steps + 1):
            column = previous[0] + round((here[0] - previous[0]) * step / steps)
            row = previous[1] + round((here[1] - previous[1]) * step / steps)
            cells[row // 4][column // 2] |= _DOTS[column % 2][row % 4]
        previous = here
    labels = {0: f"{high:.3f}", height - 1: f"{low:.3f}"}
    margin = max(map(len, labels.values()))
    drawn = [
        f"{labels.get(row, ''):>{margin}} │" + "".join(chr(0x2800 + cell) if cell else " " for cell in line)
        for row, line in enumerate(cells)
    ]
    ends = f"{left:g}", f"{right:g}"
    axis = " " * margin + " └" + "─" * width
    return [*drawn, axis, " " * (margin + 2) + ends[0] + ends[1].rjust(width - len(ends[0]))]
