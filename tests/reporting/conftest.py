"""A browser for pages."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

PICTURES = Path(__file__).parent / "pictures"
CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.is_file():
        pytest.skip(f"there is no {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--headless", "--no-sandbox", "--disable-gpu"],
        )
        yield chromium
        chromium.close()


def opened(browser: Any, place: Path, width: int = 1280, scheme: str = "light") -> Any:
    """The page, having met no error, no message and no request but for itself."""
    shown = browser.new_page(viewport={"width": width, "height": 850}, color_scheme=scheme)
    shown.faults = []
    shown.on("console", lambda message: shown.faults.append(message.text))
    shown.on("pageerror", lambda error: shown.faults.append(str(error)))
    shown.on("dialog", lambda dialog: shown.faults.append(dialog.message))
    requests: list[str] = []
    shown.on("request", lambda request: requests.append(request.url))
    shown.goto(place.as_uri())
    until(shown, "document.querySelectorAll('figure.done, figure.lost').length === figures()")
    assert requests == [place.as_uri()]
    return shown


def until(shown: Any, condition: str, seconds: float = 30) -> None:
    """Wait; the page's policy allows no script that would wait in it."""
    end = time.monotonic() + seconds
    script = condition.replace("figures()", "document.querySelectorAll('figure').length")
    while not shown.evaluate(script):
        assert time.monotonic() < end and not shown.faults, (condition, shown.faults)
        shown.wait_for_timeout(30)


def looks_as_it_did(png: bytes, name: str) -> None:
    """Compare with a kept picture, small and blurred, so that a font's details don't count.

    A picture that is missing is made, for somebody to look at.
    """
    small = Image.open(io.BytesIO(png)).convert("RGB")
    small.thumbnail((240, 480), Image.Resampling.BOX)
    kept = PICTURES / f"{name}.png"
    if not kept.is_file():
        small.quantize(64).save(kept, optimize=True)
        pytest.fail(f"{kept.name} is new: look at it")
    other = Image.open(kept).convert("RGB")
    assert all(abs(a - b) <= 2 for a, b in zip(small.size, other.size, strict=True)), small.size
    small = small.resize(other.size)  # another font is a little narrower or wider
    apart = np.abs(np.asarray(small, float) - np.asarray(other, float))
    assert apart.mean() < 4, "how far the pixels are apart, of 255"
