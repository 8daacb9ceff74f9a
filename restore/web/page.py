"""The page: Gradio's controls and slider, and a small script that uses our own HTTP API like any other client.

Gradio's own uploads, queue and file cache are closed (:mod:`restore.web.middleware`), so that there is a single way in,
with one set of limits.
"""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from restore.image.formats import READ_SUFFIXES
from restore.io.files import json_text
from restore.web.limits import Limits
from restore.web.request import MOST_NOISE, PART_SCALE
from restore.web.uploads import FORMATS, TOO_LARGE, TOO_LONG

_HERE = Path(__file__).parent
_FONTS = ("system-ui", "sans-serif")  # fonts of the client's machine; others would be fetched from another host
_SUFFIXES = ",".join(READ_SUFFIXES)
_ARROW = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.5" aria-hidden="true">'
    '<path d="M12 16V4m0 0L7 9m5-5 5 5M4 16v3a1 1 0 0 0 1 1h14a1 1 0 0 0 1-1v-3"/></svg>'
)
QUEUE_SLEEP = 1.0  # seconds


def mount(app: FastAPI, menu: Sequence[Mapping[str, Any]], limits: Limits) -> FastAPI:
    """Mount the page at the root of the application.

    Args:
        menu: the methods served; the first is the default. limits: shown on the page.
    """
    page = _page(menu, limits)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        ssr_mode=False,
        run_history=False,
        footer_links=[],
        theme=gr.themes.Base(
            primary_hue=gr.themes.colors.blue,
            neutral_hue=gr.themes.colors.slate,
            font=list(_FONTS),
            font_mono=["monospace"],
        ).set(body_text_color_subdued="*neutral_500"),
        css=(_HERE / "page.css").read_text(encoding="utf-8"),
        head=f"<script>{_facts(menu, limits)}\n{(_HERE / 'page.js').read_text(encoding='utf-8')}</script>",
    )
    # the page's buttons only call its script: Gradio's queue stays empty, and would poll for work every millisecond
    page._queue.sleep_when_free = page._queue.progress_update_sleep_when_free = QUEUE_SLEEP
    return app


def _facts(menu: Sequence[Mapping[str, Any]], limits: Limits) -> str:
    """The data that the script needs, as a script."""
    facts = {
        "methods": [
            {
                "name": entry["name"],
                "anyScale": entry["any_scale"],
                "trains": "max_steps" in entry,
                "makesNewImage": entry["makes_new_image"],
            }
            for entry in menu
        ],
        "maxBytes": limits.max_bytes,
        "maxMb": f"{limits.max_mb:g}",
        "maxSide": limits.max_side,
        "tooLarge": TOO_LARGE,
        "tooLong": TOO_LONG,
    }
    return f"const restoreFacts = {json_text(facts, ascii_only=True)};".replace("</", "<\\/")


def _page(menu: Sequence[Mapping[str, Any]], limits: Limits) -> gr.Blocks:
    page: gr.Blocks
    with gr.Blocks(title="restore", analytics_enabled=False) as page:
        kept = f"The server keeps an image and its result for at most {limits.keep_seconds:g} s after the job ends."
        gr.HTML(
            f"<h1>restore</h1><p>Restores, enlarges or translates an image. {kept}</p>",
            elem_classes="restore-plain",
            padding=False,
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                gr.HTML(_upload(limits), elem_classes="restore-plain")
                gr.HTML(_methods(menu), elem_classes="restore-plain")
                given = _controls(menu, limits)
                with gr.Row():
                    go = gr.Button("Restore", variant="primary", elem_id="restore-go")
                    stop = gr.Button("Cancel", elem_id="restore-stop")
            with gr.Column(scale=3, min_width=300):
                gr.HTML(_STATUS, elem_classes="restore-plain")
                slider = gr.ImageSlider(
                    label="Before and after; the mouse wheel zooms",
                    interactive=False,
                    buttons=["fullscreen"],
                    max_height=640,
                    elem_id="restore-slider",
                )
                gr.HTML('<div id="restore-links"></div>', elem_classes="restore-plain")
                gr.HTML(_cards(menu), elem_classes=["restore-plain", "restore-cards"])
        go.click(None, given, [slider], js="(...given) => window.restorePage.run(...given)")
        stop.click(None, None, None, js="() => window.restorePage.cancel()")
    return page


_STATUS = (
    '<progress id="restore-progress" max="1" aria-label="progress"></progress>'
    '<div id="restore-status" role="status" aria-live="polite"></div>'
    '<div id="restore-empty">The result appears here, next to the input; move the handle to compare them.</div>'
)


def _controls(menu: Sequence[Mapping[str, Any]], limits: Limits) -> list[Any]:
    """The controls, in the order in which the script reads their values; styles hide those that a method cannot use."""
    free = next((float(entry["scale"]) for entry in menu if entry["any_scale"]), 2.0)
    mode = gr.Radio(
        [("the whole image", "whole"), (f"a random part, by {PART_SCALE}", "part")],
        value="whole",
        label="Enlarge",
        elem_id="restore-mode",
    )
    scale = gr.Number(
        free,
        label="Scale",
        info="factor for width and height",
        minimum=1,
        step=0.5,
        elem_id="restore-scale",
    )
    metadata = gr.Radio(
        [("remove", "strip"), ("keep", "keep")],
        value="strip",
        label="Metadata",
        info="EXIF (camera, time, place), XMP, and text in a PNG",
        elem_id="restore-metadata",
    )
    with gr.Accordion("More settings", open=False, elem_id="restore-more"):
        seconds = gr.Slider(
            1,
            limits.max_seconds,
            min(60.0, limits.max_seconds),
            step=1,
            label="Time limit (seconds)",
            elem_id="restore-seconds",
        )
        steps = _number("Maximum training steps", "of each scale step", "restore-steps")
        of_zero_shot = _of_zero_shot()
        seed = _number("Seed", "the same seed gives the same result", "restore-seed")
    return [mode, scale, metadata, seconds, steps, *of_zero_shot, seed]


def _of_zero_shot() -> list[Any]:
    """Settings of zero-shot: what a visitor may know about the image, and how to train."""
    start = gr.Radio(
        [("default", ""), ("weights trained on photos", "photos"), ("random weights", "scratch")],
        value="",
        label="Start of training",
        elem_id="restore-start",
    )
    kernel = gr.Radio(
        [("default", ""), ("measure blur and noise", "auto"), ("estimate the blur", "estimate")],
        value="",
        label="Blur of the image",
        info="can be estimated at scales 2, 3 and 4",
        elem_id="restore-kernel",
    )
    noise = _number(
        "Noise of the image",
        f"standard deviation from 0 to {MOST_NOISE:g}, where 1 is white; visible from about 0.02",
        "restore-noise",
    )
    return [start, kernel, noise]


def _number(label: str, info: str, elem_id: str) -> Any:
    """A number that may stay empty; Gradio's own field for numbers turns an empty one into 0."""
    return gr.Textbox(label=label, info=info, placeholder="default", lines=1, max_lines=1, elem_id=elem_id)


def _upload(limits: Limits) -> str:
    return (
        f'<label id="restore-drop"><img id="restore-preview" alt="" hidden>{_ARROW}'
        '<b id="restore-name">Drop an image here, or <u>choose one</u></b>'
        f"<small>{FORMATS}</small>"
        f"<small>at most {limits.max_mb:g} MB and {limits.max_side} px on each side</small>"
        f'<input type="file" id="restore-file" accept="{_SUFFIXES}" aria-label="image"></label>'
    )


def _methods(menu: Sequence[Mapping[str, Any]]) -> str:
    """The choice of methods, each with its purpose."""
    choices = []
    for k, entry in enumerate(menu):
        name, checked = html.escape(entry["name"]), "" if k else " checked"
        choices.append(
            f'<label><input type="radio" name="restore-method" value="{name}"{checked}><b>{name}</b>'
            f"<span>{html.escape(entry['purpose'])}</span></label>"
        )
    return f'<fieldset id="restore-methods"><legend>Method</legend>{"".join(choices)}</fieldset>'


def _cards(menu: Sequence[Mapping[str, Any]]) -> str:
    """A summary of each method, with its card to unfold."""
    parts = []
    for entry in menu:
        free = f"any scale, {entry['scale']:g} by default" if entry["any_scale"] else f"scale {entry['scale']:g}"
        means = [mean for result in entry["card"].get("results", []) for mean in _means(result)]
        summary = html.escape("; ".join([free, *means]))
        card = html.escape(json_text(entry["card"], indent=1)) if entry["card"] else _no_card(entry)
        parts.append(
            f"<details><summary><b>{html.escape(entry['name'])}</b>: {summary}</summary><pre>{card}</pre></details>"
        )
    return "<h2>Methods in detail</h2>" + "".join(parts)


def _no_card(entry: Mapping[str, Any]) -> str:
    if entry["name"] == "auto":
        return "chooses among the weights in the package for each image"
    if "max_steps" in entry:
        return "a network that is trained on each image"
    return "weights of another project, without a card" if entry["sha256"] else "no network"


def _means(result: Mapping[str, Any]) -> list[str]:
    ensemble = " with self-ensemble" if result.get("self_ensemble") else ""
    return [
        f"{benchmark} {', '.join(f'{metric} {value:#.4g}' for metric, value in scores.items())}{ensemble}"
        for benchmark, scores in result.get("means", {}).items()
    ]
