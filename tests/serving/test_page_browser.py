"""The page as people use it, in a real browser: upload, search, chain, filter, mark, map; by pointer and by keys."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from colour_gallery import draw, make_gallery

uvicorn = pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("fastapi", reason="needs the extra serve")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra test")

from mscmreid.serving.app import make_app  # noqa: E402
from mscmreid.serving.marks import Marks  # noqa: E402

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (set CHROMIUM to its program)")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]
PATIENCE = 30_000  # milliseconds; a wait ends as soon as what is waited for is there


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """(address, gallery) of a running server."""
    gallery = make_gallery(tmp_path_factory.mktemp("site"))
    app = make_app(gallery, Marks(gallery.path / "marks.csv"))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/", gallery
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def page(browser, site):
    """The page in a laptop's window; nothing may be asked of another host, nothing may go wrong in its scripts."""
    context = browser.new_context(viewport=dict(width=1366, height=820))
    opened, wrong, asked = context.new_page(), [], []
    opened.set_default_timeout(PATIENCE)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(site[0])
    opened.wait_for_selector(".hit")
    yield opened
    context.close()
    assert wrong == []
    assert [url for url in asked if not url.startswith((site[0], "blob:"))] == []


def until(page, condition: str) -> None:
    """Wait for a condition in JavaScript; the page's own rules forbid the evaluation that Playwright's wait needs."""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"never came true: {condition}"
        time.sleep(0.03)


def upload(page, tmp_path: Path, colour: str = "green") -> None:
    """Give the page a photo and wait for its answer."""
    page.check("input[name=modality][value=infrared]", force=True)
    page.set_input_files("#file", draw(tmp_path / "photo.png", colour, 4))
    page.wait_for_selector("#tab-results[aria-selected=true]")
    page.wait_for_selector(".hit .score:not(:empty)")


def only_camera(number: int) -> str:
    return f"[...document.querySelectorAll('.hit .facts')].every(e => e.textContent.startsWith('camera {number}'))"


def facts(page) -> list[str]:
    return page.locator(".hit .facts").all_inner_texts()


def test_upload_chain_filter_and_mark(page, site, tmp_path):
    upload(page, tmp_path)
    assert all("id green" in text for text in facts(page)[:6]) and "cosines" in page.inner_text("#note")
    scores = [float(text) for text in page.locator(".score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)

    name = page.locator(".hit .file").nth(2).inner_text()
    page.locator(".pick").nth(2).click()
    until(page, "document.querySelectorAll('#trail button').length === 2")
    until(page, "!document.querySelector('.busy')")
    assert "From the gallery" in page.inner_text("#about")
    cameras = {text.split("·")[0].strip() for text in facts(page)}
    assert cameras == {"camera 1", "camera 2"} and name

    page.click("#cameras button >> nth=1")
    until(page, "[...document.querySelectorAll('.hit .facts')].every(e => e.textContent.startsWith('camera 2'))")
    page.click("#cameras button >> nth=1")
    until(page, "[...document.querySelectorAll('.hit .facts')].every(e => e.textContent.startsWith('camera 1'))")
    page.click("#clear")
    until(page, "document.querySelectorAll('.hit').length === 24")

    page.locator(".hit .right").first.click()
    page.wait_for_selector(".hit.is-right")
    assert "right" in (site[1].path / "marks.csv").read_text().splitlines()[-1]
    page.locator("#trail button").first.click()
    until(page, "document.querySelector('#about').textContent === 'photo.png'")


def test_everything_by_keyboard(page, site, tmp_path):
    upload(page, tmp_path, "blue")
    page.locator(".pick").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    columns = page.evaluate(
        "(() => { const c = [...document.querySelectorAll('.hit')];"
        " return c.findIndex(e => e.offsetTop > c[0].offsetTop); })()"
    )
    place = "[...document.querySelectorAll('.hit')].indexOf(document.activeElement.closest('.hit'))"
    assert page.evaluate(place) == columns > 2
    page.keyboard.press("w")
    page.wait_for_selector(".hit.is-wrong")
    assert page.evaluate("getComputedStyle(document.activeElement.closest('.hit')).outlineStyle") == "solid"
    page.keyboard.press("w")
    until(page, "!document.querySelector('.hit.is-wrong')")
    lines = (site[1].path / "marks.csv").read_text().splitlines()
    assert [line.rpartition(",")[2] for line in lines[-2:]] == ["wrong", "none"]
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('#trail button').length === 2")
    until(page, "document.activeElement.classList.contains('pick')")  # the first of the next answer


def test_a_photo_without_a_modality_is_asked_about(page, tmp_path):
    page.set_input_files("#file", draw(tmp_path / "photo.png", "red", 4))
    until(page, "document.querySelector('#status').textContent.includes('visible or infrared')")
    page.check("input[name=modality][value=visible]", force=True)
    page.wait_for_selector(".hit .score:not(:empty)")


def test_an_unreadable_photo_is_told(browser, site, tmp_path):
    opened = browser.new_page()
    opened.goto(site[0])
    opened.wait_for_selector(".hit")
    opened.check("input[name=modality][value=visible]", force=True)
    (tmp_path / "photo.png").write_bytes(b"no image")
    opened.set_input_files("#file", tmp_path / "photo.png")
    opened.wait_for_selector("#status.error")
    assert "cannot be decoded" in opened.inner_text("#status")
    opened.close()


def test_html_in_a_name_is_text(page):
    assert any("<img src=x onerror" in text for text in page.locator(".hit .file").all_inner_texts())
    assert page.locator("img[src='x']").count() == 0


def test_the_map_answers_to_clicks_and_keys(page):
    page.click("#tab-map")
    until(page, "document.querySelector('#told').textContent.includes('principal components')")
    page.select_option("#colour", "modality")
    assert "infrared" in page.inner_text("#legend")
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#tip:not([hidden])")
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit .score:not(:empty)")
    assert "From the gallery" in page.inner_text("#about")
    page.click("#tab-map")
    box = page.locator("#map").bounding_box()
    for x in range(10, int(box["width"]), 12):  # until the pointer meets an image
        for y in (22, box["height"] - 22, box["height"] / 2):
            page.mouse.move(box["x"] + x, box["y"] + y)
            if page.locator("#tip:not([hidden])").count():
                page.mouse.click(box["x"] + x, box["y"] + y)
                page.wait_for_selector("#tab-results[aria-selected=true]")
                return
    raise AssertionError("no image on the map answers to the pointer")


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (390, "light"), (1366, "dark")])
def test_it_fits_phones_and_both_colour_schemes(browser, site, width, scheme):
    context = browser.new_context(viewport=dict(width=width, height=844), color_scheme=scheme)
    opened = context.new_page()
    opened.goto(site[0])
    opened.wait_for_selector(".hit")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    light = opened.evaluate(
        "(() => { const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);"
        " return r + g + b; })()"
    )
    assert (light > 600) == (scheme == "light")
    context.close()
