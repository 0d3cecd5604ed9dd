"""The page itself, in Gradio: two tabs, and what their buttons do. `dcpt app` serves it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from dcpt_arch.checkpoints.loading import CheckpointError
from dcpt_data import DataError
from dcpt_data.degradations import degradation_names
from dcpt_models.errors import OptionError
from dcpt_models.inference.restorer import RestoreError
from dcpt_tools.photographs.page.engine import OWN, Engine, try_out
from dcpt_tools.photographs.page.limits import Limits
from dcpt_tools.photographs.page.sessions import Photograph, Session, Sessions
from dcpt_tools.photographs.steps import in_words

KNOWN = (CheckpointError, DataError, OptionError, RestoreError)  # whose message says what to do
KINDS = [".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"]
ALONE = "compute"  # one thing is computed at a time, for all visitors
HEADERS = ["Photograph", "Diagnosis", "Size", "Tiles", "Seconds", "Result"]


class StopError(Exception):
    """The visitor wants no more of it."""


class Page:
    """What the buttons do.

    Args:
        engine: The networks.
        sessions: The visitors.
        limits: How much is taken.
        opens: Whether visitors may open checkpoints of their own.
    """

    def __init__(self, engine: Engine, sessions: Sessions, limits: Limits, opens: bool) -> None:
        self.engine, self.sessions, self.limits, self.opens = engine, sessions, limits, opens

    # The first tab

    def look(self, files: list[str] | None, request: gr.Request, progress: gr.Progress = gr.Progress()) -> Iterator:  # noqa: B008 - how Gradio passes it
        """Take the photographs that were dropped, and diagnose them one after the other."""
        session = self.sessions.of(request.session_hash)
        session.drop()
        session.stopped = False
        given = [Path(file) for file in files or []]
        if len(given) > self.limits.files:
            raise gr.Error(f"{len(given)} photographs; at most {self.limits.files} at a time")
        for number, upload in enumerate(given):
            progress((number, len(given)), desc=f"Looking at {upload.name}", unit="photographs")
            photograph = session.take(upload)
            session.photographs.append(photograph)
            try:
                self.limits.check(photograph.source)
                self.engine.diagnose(photograph)
            except KNOWN as error:
                photograph.error = str(error)
        yield from self._after(session)

    def restore(
        self,
        weights: str,
        strength: float,
        tile: float,
        ensemble: bool,
        chosen: int | None,
        removed: list[str],
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator:
        """Restore all photographs that can be read; each is shown once it is done."""
        session = self.sessions.of(request.session_hash)
        session.stopped = False
        waiting = [one for one in session.photographs if one.diagnosis is not None]
        if not waiting:
            raise gr.Error("Drop photographs first")
        with told():
            restorer = self.engine.restorer(weights, None if tile < 0 else int(tile), ensemble, removed)
        try:
            for number, photograph in enumerate(waiting):
                photograph.error = ""
                report = self._progress(session, progress, number, len(waiting), photograph.name)
                try:
                    self.engine.restore(photograph, restorer, strength, report)
                except KNOWN as error:
                    photograph.error = str(error)
        except StopError:
            gr.Info("Stopped; what was done is kept")
        yield from self._after(session, chosen)

    def blend(self, strength: float, chosen: int | None, request: gr.Request) -> Iterator:
        """Write all results anew at another strength; nothing is computed again."""
        session = self.sessions.of(request.session_hash)
        with told():
            for photograph in session.photographs:
                self.engine.write(photograph, strength)
        yield from self._after(session, chosen)

    def choose(self, chosen: int | None, request: gr.Request) -> Iterator:
        """Show another photograph."""
        yield from self._after(self.sessions.of(request.session_hash), chosen)

    def stop(self, request: gr.Request) -> None:
        """Stop what is running, before its next tile."""
        self.sessions.of(request.session_hash).stopped = True

    def open(self, file: str | None) -> Any:
        """Let a checkpoint be chosen, and choose it."""
        if not file:
            return gr.skip()
        with told():
            name = self.engine.add(Path(file))
        gr.Info(f"Opened {name}")
        return gr.Dropdown(choices=list(self.engine.files), value=name)

    @staticmethod
    def _progress(session: Session, progress: Any, number: int, total: int, name: str) -> Callable[[float], None]:
        def report(share: float) -> None:
            if session.stopped:
                raise StopError
            progress((number + share, total), desc=f"Restoring {name}", unit="photographs")

        report(0.0)
        return report

    def _after(self, session: Session, chosen: int | None = 0) -> Iterator:
        """What the first tab shows: list, choice, diagnosis, map, pair, files."""
        photographs = session.photographs
        rows = [self._row(one) for one in photographs]
        place = chosen if chosen is not None and 0 <= chosen < len(photographs) else 0
        choice = gr.Dropdown(
            choices=[(f"{number + 1}: {one.name}", number) for number, one in enumerate(photographs)],
            value=place if photographs else None,
            visible=len(photographs) > 1,
        )
        done = [one for one in photographs if one.facts and one.result.is_file()]
        files = [str(one.result) for one in done]
        shown = photographs[place] if photographs else None
        yield rows, choice, *self._view(shown), gr.Files(value=files or None, visible=bool(files))

    @staticmethod
    def _row(one: Photograph) -> list[str]:
        if one.error:
            return [one.name, "", "", "", "", one.error]
        found = in_words(one.diagnosis) if one.diagnosis else ""
        if not one.facts:
            return [one.name, found, "", "", "", ""]
        facts, lost = one.facts, ", ".join(one.facts.get("lost", []))
        size = f"{facts['width']} x {facts['height']}, {facts['bits']} bit"
        result = f"restored, strength {facts['strength']:g}" + (f"; left out: {lost}" if lost else "")
        return [one.name, found, size, str(facts["tiles"]), f"{facts['seconds']:.1f}", result]

    def _view(self, one: Photograph | None) -> tuple[Any, Any, Any]:
        """Diagnosis, map and pair of a photograph."""
        if one is None or one.diagnosis is None:
            return None, gr.Image(value=None, visible=False), gr.ImageSlider(value=None, visible=False)
        found = {**one.diagnosis.probabilities}
        words = f"Diagnosis: {one.diagnosis.answer}" + (
            "" if one.diagnosis.familiar is not None else " (not calibrated)"
        )
        label = gr.Label(value=found, label=words, visible=True)
        heat = gr.Image(value=str(one.folder / "map.png"), label=f"Where {one.diagnosis.leading} is seen", visible=True)
        pair = (str(one.folder / "before.png"), str(one.folder / "after.png"))
        there = bool(one.facts)
        return label, heat, gr.ImageSlider(value=pair if there else None, visible=there)

    # The second tab

    def try_out(
        self,
        file: str | None,
        names: list[str],
        texts: str,
        seed: float,
        weights: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator:
        """Degrade a photograph, restore it, and say the PSNR of both."""
        session = self.sessions.of(request.session_hash)
        session.stopped = False
        if not file:
            raise gr.Error("Drop a photograph first")
        if not names:
            raise gr.Error("Choose a degradation")
        photograph = session.try_with(Path(file))
        with told():
            self.limits.check(photograph.source)
            restorer = self.engine.restorer(weights, None, False)
            report = self._progress(session, progress, 0, 1, photograph.name)
            try:
                found = try_out(photograph, restorer, "+".join(names), shlex.split(texts), int(seed), report)
            except StopError:
                raise gr.Error("Stopped") from None
        gain = found["restored"] - found["input"]
        words = (
            f"**{' + '.join(found['order'])}**: PSNR {found['input']:.2f} dB degraded, {found['restored']:.2f} dB "
            f"restored by {restorer.name} ({gain:+.2f} dB)"
        )
        folder = photograph.folder
        pair = gr.ImageSlider(value=(str(folder / "before.png"), str(folder / "after.png")), visible=True)
        files = gr.Files(value=[str(folder / "degraded.png"), str(folder / "restored.png")], visible=True)
        yield words, pair, files

    def leave(self, request: gr.Request) -> None:
        """Remove what the visitor had here."""
        self.sessions.close(request.session_hash)

    # The layout

    def build(self) -> gr.Blocks:
        """The page, to be launched."""
        with gr.Blocks(title="dcpt", analytics_enabled=False, delete_cache=(3600, 86400)) as blocks:
            gr.Markdown(
                "## Restore photographs\nNothing leaves this machine. What you drop, and what is made of it, is "
                "removed when you close the tab. The diagnosis is that of the package's small classifier: a try, not "
                "an instrument."
            )
            with gr.Tab("Restore"):
                self._first()
            with gr.Tab("Try it on a degradation"):
                self._second()
            blocks.unload(self.leave)
        return blocks

    def _first(self) -> None:
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                files = gr.Files(label="Photographs", file_types=KINDS, elem_id="photographs", height=140)
                strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", info="how much of the change is taken")
                removed = gr.Dropdown(
                    self.engine.removes,
                    multiselect=True,
                    label="Remove",
                    info="what you see is wrong; nothing: what the network sees",
                    elem_id="remove",
                )
                weights = gr.Dropdown(list(self.engine.files), value=OWN, label="Network")
                with gr.Accordion("More", open=False):
                    tile = gr.Number(-1, label="Tile", info="pixels; -1 by memory, 0 the whole image", precision=0)
                    ensemble = gr.Checkbox(False, label="Self-ensemble", info="8 flips and rotations, 8 times as long")
                    if self.opens:
                        other = gr.File(label="Open a checkpoint", file_types=[".pth", ".safetensors", ".ckpt", ".pt"])
                        other.upload(self.open, other, weights, api_name="open", concurrency_id=ALONE)
                with gr.Row():
                    start = gr.Button("Restore", variant="primary", elem_id="restore")
                    stop = gr.Button("Stop", elem_id="stop")
            with gr.Column(scale=5, min_width=300):
                choice = gr.Dropdown([], label="Photograph", visible=False, elem_id="choice")
                pair = gr.ImageSlider(
                    label="Before | after", visible=False, elem_id="pair", max_height=520, buttons=["fullscreen"]
                )
                results = gr.Files(label="Download", visible=False, elem_id="results", interactive=False)
                with gr.Row():
                    diagnosis = gr.Label(label="Diagnosis", num_top_classes=5, elem_id="diagnosis", min_width=200)
                    heat = gr.Image(visible=False, elem_id="map", buttons=[], interactive=False, min_width=200)
        rows = gr.Dataframe(headers=HEADERS, interactive=False, elem_id="rows", wrap=True, label="Photographs")
        shown = [rows, choice, diagnosis, heat, pair, results]
        alone: dict[str, Any] = {"concurrency_id": ALONE, "concurrency_limit": 1}
        gr.on([files.upload, files.delete, files.clear], self.look, files, shown, api_name="look", **alone)
        inputs = [weights, strength, tile, ensemble, choice, removed]
        start.click(self.restore, inputs, shown, api_name="restore", **alone)
        strength.release(self.blend, [strength, choice], shown, api_name="blend", **alone)
        choice.input(self.choose, choice, shown, api_name="choose", show_progress="hidden")
        stop.click(self.stop, None, None, api_name="stop", queue=False)

    def _second(self) -> None:
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                file = gr.File(label="A clean photograph", file_types=KINDS, elem_id="clean", height=140)
                names = gr.Dropdown(degradation_names(), value=["noise"], multiselect=True, label="Degradations")
                texts = gr.Textbox(
                    label="Parameters", placeholder="sigma=25", info="KEY=VALUE, of several PART.KEY=VALUE"
                )
                seed = gr.Number(0, label="Seed", precision=0, minimum=0)
                weights = gr.Dropdown(list(self.engine.files), value=OWN, label="Network")
                start = gr.Button("Degrade and restore", variant="primary", elem_id="try")
            with gr.Column(scale=5, min_width=300):
                words = gr.Markdown(elem_id="psnr")
                pair = gr.ImageSlider(
                    label="Degraded | restored", visible=False, elem_id="tried", max_height=520, buttons=["fullscreen"]
                )
                results = gr.Files(label="Download", visible=False, interactive=False)
        start.click(
            self.try_out,
            [file, names, texts, seed, weights],
            [words, pair, results],
            api_name="try_out",
            concurrency_id=ALONE,
            concurrency_limit=1,
        )


@contextmanager
def told() -> Iterator[None]:
    """Within it, errors that a visitor can fix are shown on the page."""
    try:
        yield
    except (*KNOWN, ValueError) as error:
        raise gr.Error(str(error)) from error
