"""The page: Gradio's controls and slider around a small script that uses our own HTTP API, like any other client.

Gradio's own uploads, queue and file cache are not used and are closed (:mod:`restore.web.middleware`), so that there
is one way in, with one set of limits.
"""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from restore.web.limits import Limits
from restore.web.request import PART_SCALE
from restore.web.uploads import TOO_LARGE, TOO_LONG

_SCRIPT = Path(__file__).with_name("page.js")
_FONTS = ("system-ui", "sans-serif")  # of the client's machine; others would be fetched from another host
_CSS = """
#restore-file { width: 100%; padding: 1.5rem 1rem; border: 2px dashed var(--border-color-primary); border-radius: 8px }
#restore-preview { max-height: 8rem; margin: .5rem auto 0; display: block }
#restore-progress { width: 100% }
.restore-cards details { margin: .3rem 0 } .restore-cards pre { overflow: auto; max-height: 20rem; font-size: .8rem }
"""


def mount(app: FastAPI, menu: Sequence[Mapping[str, Any]], limits: Limits) -> FastAPI:
    """Put the page at the root of the application.

    Args:
        menu: the methods served, the first by default. limits: shown on the page.
    """
    gr.mount_gradio_app(
        app,
        _page(menu, limits),
        path="/",
        ssr_mode=False,
        run_history=False,
        footer_links=[],
        theme=gr.themes.Base(font=list(_FONTS), font_mono=["monospace"]),
        css=_CSS,
        head=f"<script>{_SCRIPT.read_text(encoding='utf-8')}</script>",
    )
    return app


def _page(menu: Sequence[Mapping[str, Any]], limits: Limits) -> gr.Blocks:
    page: gr.Blocks
    with gr.Blocks(title="restore", analytics_enabled=False) as page:
        kept = f"Images are deleted {limits.keep_seconds:g} seconds after they are done."
        gr.HTML(f"<h1>restore</h1><p>A photo in, a restored one out. {kept}</p>")
        with gr.Row():
            with gr.Column(scale=1):
                gr.HTML(_upload(limits))
                with gr.Row():
                    go = gr.Button("Restore", variant="primary", elem_id="restore-go")
                    stop = gr.Button("Cancel", elem_id="restore-stop")
                given = _controls(menu, limits)
            with gr.Column(scale=2):
                gr.HTML('<progress id="restore-progress" value="0" max="1"></progress><div id="restore-status"></div>')
                slider = gr.ImageSlider(
                    label="Before and after; the wheel zooms",
                    interactive=False,
                    buttons=["fullscreen"],
                    max_height=640,
                    elem_id="restore-slider",
                )
                gr.HTML('<div id="restore-links"></div>')
                gr.HTML(_cards(menu), elem_classes="restore-cards")
        go.click(None, given, [slider], js="(...given) => window.restorePage.run(...given)")
        stop.click(None, None, None, js="() => window.restorePage.cancel()")
    return page


def _controls(menu: Sequence[Mapping[str, Any]], limits: Limits) -> list[Any]:
    """The controls, in the order in which the script takes their values."""
    names = [str(entry["name"]) for entry in menu]
    free = next((float(entry["scale"]) for entry in menu if entry["any_scale"]), 2.0)
    method = gr.Dropdown(names, value=names[0], label="Method", elem_id="restore-method")
    mode = gr.Radio(
        [("whole image", "whole"), (f"a random part, enlarged {PART_SCALE} times", "part")],
        value="whole",
        label="What",
        elem_id="restore-mode",
    )
    scale = gr.Number(free, label="Scale", info="for methods that take any", minimum=1, step=0.5)
    metadata = gr.Radio(
        [("remove", "strip"), ("keep", "keep")],
        value="strip",
        label="Metadata",
        info="camera, time and place (EXIF), XMP, a PNG's texts",
        elem_id="restore-metadata",
    )
    with gr.Accordion("More: how long zero_shot trains, seed", open=False):
        seconds = gr.Slider(1, limits.max_seconds, min(30.0, limits.max_seconds), step=1, label="Seconds, at most")
        steps = gr.Number(None, label="Steps, at most", precision=0, elem_id="restore-steps")
        seed = gr.Number(None, label="Seed", info="the same seed, the same part", precision=0)
    return [method, mode, scale, metadata, seconds, steps, seed]


def _upload(limits: Limits) -> str:
    shown = json.dumps(
        {
            "maxBytes": limits.max_bytes,
            "maxMb": f"{limits.max_mb:g}",
            "maxSide": limits.max_side,
            "tooLarge": TOO_LARGE,
            "tooLong": TOO_LONG,
        }
    )
    return (
        f'<label for="restore-file">An image of at most {limits.max_mb:g} MB and {limits.max_side} px a side</label>'
        f'<input type="file" id="restore-file" accept=".png,.jpg,.jpeg,.tif,.tiff,.webp,.bmp" '
        f"data-limits='{html.escape(shown)}'>"
        '<img id="restore-preview" alt="" hidden>'
    )


def _cards(menu: Sequence[Mapping[str, Any]]) -> str:
    """A summary of each method, and its card to unfold."""
    parts = []
    for entry in menu:
        free = f"any scale, {entry['scale']:g} by default" if entry["any_scale"] else f"scale {entry['scale']:g}"
        means = [mean for result in entry["card"].get("results", []) for mean in _means(result)]
        summary = html.escape("; ".join([free, *means]))
        card = (
            html.escape(json.dumps(entry["card"], indent=1, ensure_ascii=False)) if entry["card"] else _no_card(entry)
        )
        parts.append(
            f"<details><summary><b>{html.escape(entry['name'])}</b>: {summary}</summary><pre>{card}</pre></details>"
        )
    return "<h3>Methods</h3>" + "".join(parts)


def _no_card(entry: Mapping[str, Any]) -> str:
    return "weights of another project, without a card" if entry["sha256"] else "no weights"


def _means(result: Mapping[str, Any]) -> list[str]:
    ensemble = ", 8 views" if result.get("self_ensemble") else ""
    return [
        f"{benchmark} {', '.join(f'{metric} {value:g}' for metric, value in scores.items())}{ensemble}"
        for benchmark, scores in result.get("means", {}).items()
    ]
