"""The contents of a report, from the files of a run and its newest checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from dcpt_common import sha256
from dcpt_models.analysis.features.findings import (
    HEADER,
    Settings,
    architecture,
    checkpoint,
    conditions,
    random_networks,
    study,
    study_pixels,
)
from dcpt_models.analysis.features.tsne import PERPLEXITY, embed
from dcpt_models.analysis.report.figures import charts_of_training, charts_of_validation, draw_points
from dcpt_models.analysis.report.page import CURVES, TABLE, RunReport
from dcpt_models.analysis.run_records import archived_options, curves, newest, run_checkpoints, validations
from dcpt_models.errors import OptionError
from dcpt_models.evaluation.published import read_published
from dcpt_models.evaluation.table import Method, Table
from dcpt_models.options.files import read_options

SPLITS = 20


def describe(run: Path, published: Sequence[str] | None = None) -> RunReport:
    """All that a run's own files tell.

    Args:
        run: The run.
        published: Table and row that its results stand beside; by default those of its options, if any.

    Raises:
        OptionError: If its option file cannot be read, or there is no such table or row.
    """
    file = archived_options(run)
    values = read_options(file).values
    report = RunReport(str(values.get("name") or run.name), {}, file.read_text(encoding="utf-8"))
    found = validations(run)
    report.facts = {
        "method": str(values.get("model_type")),
        "network": _words(values.get("network_g") or {}),
        "classifier": _words(values.get("network_dc") or {}),
        "degradations": ", ".join(values.get("degradations") or []),
        "folder": str(run.absolute()),
        "begun": time.strftime("%Y-%m-%d %H:%M", time.localtime(min(f.stat().st_mtime for f in run.glob("*.yml")))),
        **_checkpoints(run),
    }
    report.facts = {key: text for key, text in report.facts.items() if text}
    logged = curves(run)
    report.charts = {"Training": charts_of_training(logged), "Validation": charts_of_validation(found)}
    if not logged:
        report.note(CURVES, "The run has no metrics.csv, which has what is logged while training.")
    if not found:
        report.note(TABLE, "The run was not validated (validation.jsonl is missing or empty).")
        return report
    report.validated = max(found)
    section = values.get("table") or {}
    name, row = published or (section.get("published"), section.get("row"))
    report.table = Table([Method(report.name, found[report.validated], row)], read_published(name) if name else None)
    report.table.markdown()  # looks the row up
    return report


def _words(section: dict[str, object]) -> str:
    rest = ", ".join(f"{key} {value}" for key, value in section.items() if key != "type")
    return f"{section.get('type', '')}{f' ({rest})' if rest else ''}"


def _checkpoints(run: Path) -> dict[str, str]:
    try:
        file = newest(run, "g")
        saved = run_checkpoints(run)
    except OptionError as error:
        return {"checkpoints": str(error)}
    return {
        "checkpoints": ", ".join(f"{iteration:,}" for iteration in saved),
        "newest": f"{file.name}, sha256 {sha256(file)}",
    }


def study_features(
    report: RunReport,
    run: Path,
    images: torch.Tensor,
    labels: Sequence[str],
    source: str,
    asked: int,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Add t-SNE and nearest neighbours of a run's features, beside those of a random network and of raw pixels.

    Args:
        report: What it is added to.
        run: The run.
        images: N x 3 x H x W.
        labels: The degradation of each.
        source: Where they come from, in words.
        asked: How many of each degradation were asked for.
        device: Where the networks run.
        progress: Called with how many images of how many a network has done.

    Raises:
        OptionError: If there are too few images.
    """
    settings = Settings(states=range(SPLITS))
    file = newest(run, "g")
    subjects = [random_networks(architecture(file), [0]), checkpoint(file)]
    findings = [study_pixels(images, labels, settings)]
    findings += [study(subject, images, labels, settings, device, progress) for subject in subjects]
    perplexity = min(PERPLEXITY, (len(labels) - 1) / 3)
    report.points = draw_points({one.label: embed(one.between, perplexity) for one in findings}, labels)
    counts = {name: list(labels).count(name) for name in dict.fromkeys(labels)}
    sentences = conditions(source, counts, asked, images.shape[-1], settings)
    report.findings = [HEADER, *(one.cells() for one in findings)], sentences
