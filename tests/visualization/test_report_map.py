"""The map of a report in a browser: pointer, touch, keys, colours, paper, and nothing from outside."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from toy_people import toy_table

from mscmreid.evaluation import SYSUProtocol, evaluate
from mscmreid.visualization.report import evaluation_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome on the path")

AT = """k => { // where a point is on the canvas, by the rules of the picture: the same scale for both axes, centred
  const canvas = document.querySelector('.plot > canvas');
  const data = JSON.parse(document.querySelector('.map script').textContent);
  const wide = Math.max(...data.x) || 1, high = Math.max(...data.y) || 1;
  const w = canvas.clientWidth, h = canvas.clientHeight;
  const scale = Math.min((w - 28) / wide, (h - 28) / high), box = canvas.getBoundingClientRect();
  return [(w - wide * scale) / 2 + data.x[k] * scale, (h - high * scale) / 2 + data.y[k] * scale, box.left, box.top];
}"""
PIXEL = """([x, y]) => {
  const canvas = document.querySelector('.plot > canvas'), r = canvas.width / canvas.clientWidth;
  return [...canvas.getContext('2d').getImageData(Math.round(x * r), Math.round(y * r), 1, 1).data];
}"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    root = tmp_path_factory.mktemp("people")
    table = toy_table(root, noise=1.2)
    evaluations = evaluate(table, [SYSUProtocol(trials=1)], ["feat_bn"])
    path = root / "report.html"
    path.write_text(evaluation_report(evaluations, table, root, num_queries=1, num_hardest=1, top=2), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (the extra 'test')")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, file) -> Iterator:
    context = chromium.new_context(viewport=dict(width=1000, height=900), has_touch=True)
    page = context.new_page()
    page.problems, page.asked = [], []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on("requestfinished", lambda request: page.asked.append(request.url.split(",")[0]))
    page.goto(file.as_uri())
    page.locator(".plot > canvas").scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.plot > canvas').width > 0")
    yield page
    assert page.problems == []
    assert set(page.asked) <= {file.as_uri(), "data:image/jpeg;base64"}
    context.close()


def lonely(page) -> int:
    """The point that is farthest from all others."""
    return page.evaluate("""() => {
      const d = JSON.parse(document.querySelector('.map script').textContent);
      const apart = (i, j) => i === j ? 1e12 : (d.x[i] - d.x[j]) ** 2 + (d.y[i] - d.y[j]) ** 2;
      const far = d.x.map((_, i) => Math.min(...d.x.map((_, j) => apart(i, j))));
      return far.indexOf(Math.max(...far));
    }""")


def test_the_pointer_asks_who_a_point_is(page):
    k = lonely(page)
    x, y, left, top = page.evaluate(AT, k)
    card = page.locator(".asked")
    assert card.is_hidden()
    page.mouse.move(left + x + 3, top + y)
    assert card.is_visible()
    data = page.evaluate("JSON.parse(document.querySelector('.map script').textContent)")
    assert card.locator("b").inner_text() == f"person {data['pid'][k]}"
    assert card.locator("small").inner_text() == data["path"][k]
    assert f"camera {data['cam'][k]}" in card.locator("span").inner_text()
    # its picture, of the colour that the toy gives the person, comes out of the sprite
    middle = page.evaluate("""() => {
      const c = document.querySelector('.asked canvas');
      return [...c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data];
    }""")
    pid = data["pid"][k]
    assert abs(middle[0] - 40 * pid % 256) < 12 and abs(middle[1] - 90 * pid % 256) < 12
    page.mouse.move(left - 5, top - 5)
    assert card.is_hidden()


def test_a_touch_holds_a_point_and_a_second_one_lets_it_go(page):
    x, y, left, top = page.evaluate(AT, lonely(page))
    page.touchscreen.tap(left + x, top + y)
    assert page.locator(".asked").is_visible()
    page.touchscreen.tap(left + x, top + y)
    assert page.locator(".asked").is_hidden()


def test_colours_follow_the_choice(page):
    k = lonely(page)
    x, y, *_ = page.evaluate(AT, k)
    seen, legends = [], []
    for by in ("modality", "camera", "person"):
        page.get_by_label(by, exact=True).check()
        seen.append(tuple(page.evaluate(PIXEL, [x, y])[:3]))
        legends.append(page.locator(".legend").inner_text())
    assert len(set(seen)) == 3, seen
    assert "infrared" in legends[0] and "camera 6" in legends[1] and "6 people" in legends[2]
    page.emulate_media(color_scheme="dark")
    for _ in range(100):  # drawn when the browser comes to it
        dark = tuple(page.evaluate(PIXEL, [x, y])[:3])
        if dark not in seen:
            break
        page.wait_for_timeout(50)
    assert dark not in seen


def test_arrow_keys_walk_and_escape_ends(page):
    page.locator(".plot > canvas").focus()
    page.keyboard.press("ArrowRight")
    first = page.locator(".map").get_attribute("data-chosen")
    page.keyboard.press("ArrowRight")
    second = page.locator(".map").get_attribute("data-chosen")
    data = page.evaluate("JSON.parse(document.querySelector('.map script').textContent)")
    assert first and second and data["x"][data["path"].index(second)] > data["x"][data["path"].index(first)]
    assert page.locator(".spoken").inner_text().startswith("person ")  # read out
    page.keyboard.press("Escape")
    assert page.locator(".asked").is_hidden() and page.locator(".spoken").inner_text() == ""


def test_paper_and_a_browser_without_scripts_show_the_still_picture(page, chromium, file):
    still, plot = page.locator(".map .still"), page.locator(".map .plot")
    assert still.is_hidden() and plot.is_visible()
    page.emulate_media(media="print")
    assert still.is_visible() and plot.is_hidden()
    context = chromium.new_context(java_script_enabled=False)
    quiet = context.new_page()
    quiet.goto(file.as_uri())
    assert quiet.locator(".map .still").is_visible() and quiet.locator(".map .choices").is_hidden()
    context.close()


def test_the_policy_stops_another_script_and_every_load(page):
    stopped = page.evaluate("""async () => {
      const seen = [];
      document.addEventListener('securitypolicyviolation', (event) => seen.push(event.effectiveDirective));
      const script = document.createElement('script');
      script.textContent = 'window.evil = 1';
      document.body.append(script);
      const image = new Image();
      image.src = 'https://example.invalid/x.png';
      await fetch('https://example.invalid/').catch(() => {});
      await new Promise((done) => setTimeout(done, 50));
      return [seen, window.evil === undefined];
    }""")
    assert stopped[1] and {"script-src-elem", "img-src", "connect-src"} <= set(stopped[0])
    assert len(page.problems) >= 3 and not any("example" in url for url in page.asked)
    page.problems.clear()  # the browser tells of each


@pytest.mark.slow
def test_four_thousand_points_are_drawn(chromium, tmp_path):
    table = toy_table(num_ids=340)  # 4,080 images
    evaluations = evaluate(table, [SYSUProtocol(trials=10)], ["feat_bn"])
    html = evaluation_report(evaluations, table, None, num_queries=1, num_hardest=1, top=2)
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    page = chromium.new_page(viewport=dict(width=1000, height=900))
    page.goto((tmp_path / "report.html").as_uri())
    count = page.evaluate("JSON.parse(document.querySelector('.map script').textContent).x.length")
    assert 3000 < count <= 4000
    page.locator(".plot > canvas").scroll_into_view_if_needed()
    x, y, left, top = page.evaluate(AT, 0)
    page.mouse.move(left + x, top + y)
    assert page.locator(".asked").is_visible() and page.locator(".asked > canvas").is_hidden()  # no images
    page.close()
