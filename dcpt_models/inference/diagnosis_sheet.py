"""Draws a diagnosis: the photograph, a map of its degradation, and bars of the probabilities."""

from __future__ import annotations

import cv2
import numpy as np

from dcpt_models.inference.diagnoser import Diagnosis

LONGEST = 900  # pixels of the longer side of a photograph in the picture
LINE, MARGIN = 26, 10  # height of a line of text and of the space around, in pixels
_WHITE, _GRAY, DARK, _BAR = (255, 255, 255), (120, 120, 120), (30, 30, 30), (65, 105, 225)


def draw(pixels: np.ndarray, evidence: np.ndarray, diagnosis: Diagnosis) -> np.ndarray:
    """Draw a diagnosis.

    Args:
        pixels: The photograph, H x W x 3, RGB, uint8.
        evidence: Where `diagnosis.leading` is seen, H x W, from 0; see `Diagnoser.evidence`.
        diagnosis: What is said of it.

    Returns:
        RGB, uint8.
    """
    factor = min(1.0, LONGEST / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    photograph = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    beside = np.full((size[1], MARGIN, 3), 255, np.uint8)
    places = heat(photograph, cv2.resize(evidence, size, interpolation=cv2.INTER_AREA))
    pictures = np.hstack([photograph, beside, places])
    width = max(pictures.shape[1], 420)
    pictures = cv2.copyMakeBorder(pictures, 0, 0, 0, width - pictures.shape[1], cv2.BORDER_CONSTANT, value=_WHITE)
    return np.vstack([pictures, bars(diagnosis, width)])


def heat(photograph: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """The photograph in gray, coloured where evidence is: brightest for the most in this image.

    Args:
        photograph: H x W x 3, RGB, uint8.
        evidence: H x W, from 0.
    """
    # Single pixels of the finest level are noisy; what is shown are places.
    spread = cv2.GaussianBlur(evidence.astype(np.float32), (0, 0), max(1.0, max(evidence.shape) / 100))
    greatest = float(np.quantile(spread, 0.99))
    share = (spread / greatest).clip(0, 1) if greatest > 0 else np.zeros_like(spread)
    colours = cv2.applyColorMap((share * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    gray = cv2.cvtColor(cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    opacity = 0.75 * share[..., None]
    return ((1 - opacity) * gray + opacity * colours).round().astype(np.uint8)


def bars(diagnosis: Diagnosis, width: int) -> np.ndarray:
    """The answer, and a bar for each degradation, the most probable first."""
    ordered = sorted(diagnosis.probabilities.items(), key=lambda item: -item[1])
    sheet = np.full(((len(ordered) + 1) * LINE + 2 * MARGIN, width, 3), 255, np.uint8)
    note = "" if diagnosis.familiar is not None else "  (not calibrated)"
    where = f"; right: where {diagnosis.leading} is seen"
    write_text(sheet, f"{diagnosis.answer}{note}{where}", MARGIN, 0, DARK)
    for line, (name, chance) in enumerate(ordered, 1):
        top = MARGIN + line * LINE
        write_text(sheet, name, MARGIN, line, _GRAY)
        length = round(chance * max(1, width - 300))
        cv2.rectangle(sheet, (200, top + 5), (200 + length, top + LINE - 7), _BAR, cv2.FILLED)
        write_text(sheet, f"{chance:.1%}", 210 + length, line, _GRAY)
    return sheet


def write_text(sheet: np.ndarray, text: str, left: int, line: int, colour: tuple[int, int, int]) -> None:
    """Write a line of text into a picture; OpenCV's fonts have ASCII alone, other characters become `?`."""
    place = (left, MARGIN + line * LINE + 18)
    cv2.putText(sheet, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
