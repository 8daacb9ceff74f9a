"""Draw docs/serve.png: the page of a running ``restore serve`` after a photo was restored.

restore serve &
python docs/serve_page.py http://127.0.0.1:7860 [another file]
"""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from restore.data.embedded_photos import embedded

if __name__ == "__main__":
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(600_000)
        page.goto(sys.argv[1])
        page.set_input_files("#restore-file", embedded("photos_held_out")[0])
        page.click("#restore-go")
        page.locator("#restore-download").wait_for()
        page.wait_for_function("[...document.querySelectorAll('#restore-slider img')].every(e => e.naturalWidth)")
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(1000)  # until animations have ended
        shot = Image.open(io.BytesIO(page.screenshot()))
    file = sys.argv[2] if sys.argv[2:] else Path(__file__).with_name("serve.png")
    small = shot.convert("RGB").resize((960, 600), Image.Resampling.LANCZOS)
    small.quantize(160, dither=Image.Dither.NONE).save(file, optimize=True)
