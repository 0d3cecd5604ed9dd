"""t-SNE of features, and figures of it (DCPT, Figure 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from dcpt_models.evaluation.charts import COLOURS

PERPLEXITY = 30.0
MARKERS = "os^Dv"  # where colours come a second time, another marker tells them apart
INCHES = 3.2  # of a panel
COLUMNS = 4  # panels in a row at most


def embed(between: np.ndarray, perplexity: float = PERPLEXITY, seed: int = 0) -> np.ndarray:
    """Place images in the plane by t-SNE (van der Maaten and Hinton, JMLR 2008).

    It begins with the first two principal components, found from the distances.

    Args:
        between: N x N distances; see `dcpt_models.analysis.features.probes.distances`.
        perplexity: Roughly how many neighbours of a point are to stay near it; less than N.
        seed: Of what is random.

    Returns:
        N x 2.
    """
    from sklearn.manifold import TSNE

    start = _principal_components(between)
    method = TSNE(metric="precomputed", init=start, perplexity=perplexity, random_state=seed)
    return method.fit_transform(between.astype(np.float32))


def _principal_components(between: np.ndarray) -> np.ndarray:
    """The first two, N x 2, of points at these distances, as small as t-SNE begins."""
    squares = between**2
    products = -(squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean()) / 2
    values, vectors = np.linalg.eigh(products)
    points = vectors[:, -2:][:, ::-1] * np.sqrt(values[-2:][::-1].clip(0))
    return (1e-4 * points / (points[:, 0].std() or 1)).astype(np.float32)


def draw_embeddings(panels: Mapping[str, np.ndarray], labels: Sequence[str], file: Path | IO[bytes]) -> None:
    """Draw panels side by side, points coloured by degradation, for print: 300 dpi, or vectors.

    Args:
        panels: Title -> N x 2 points.
        labels: The degradation of each point.
        file: A path, whose suffix is the format (.png, .svg or .pdf), or a stream that SVG is written to.
    """
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(2, columns) * INCHES, rows * (INCHES + 0.35) + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    names = np.array(labels)
    for axes, (title, points) in zip(grid, panels.items(), strict=False):
        for i, name in enumerate(dict.fromkeys(labels)):
            marker = MARKERS[i // len(COLOURS) % len(MARKERS)]
            own = points[names == name]
            axes.scatter(*own.T, s=9, marker=marker, color=COLOURS[i % len(COLOURS)], label=name, linewidths=0)
        axes.set_title(title, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_box_aspect(1)
        axes.spines[:].set_linewidth(0.5)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    handles, texts = grid[0].get_legend_handles_labels()
    legend = {"frameon": False, "fontsize": 9, "markerscale": 2, "handletextpad": 0.1}
    figure.legend(handles, texts, loc="outside lower center", ncols=min(len(texts), 4 * max(2, columns)), **legend)
    save_figure(figure, file)


def save_figure(figure: Any, file: Path | IO[bytes]) -> None:
    """Write a figure in the format of the file's suffix, or SVG into a stream; letters stay letters."""
    from matplotlib import rc_context

    if isinstance(file, Path):
        file.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.fonttype": "none", "pdf.fonttype": 42}):
        figure.savefig(file, dpi=300, bbox_inches="tight", format=None if isinstance(file, Path) else "svg")
