"""The report: whole, self-contained, honest about what is left out, and readable in a browser."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image
from toy_people import toy_table

from mscmreid.evaluation import GeneralProtocol, RegDBProtocol, SYSUProtocol, evaluate
from mscmreid.visualization.report import evaluation_report, results_report

VOID = {"meta", "img", "br", "link", "input", "hr"}
SECTIONS = ("facts", "cmc", "distances", "cameras", "hardest", "best", "worst")


class Page(HTMLParser):
    """Reads a page and fails on tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[str] = []
        self.words: list[str] = []
        self.titles: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("href", "src", "srcset", "data", "action") if name in values]
        self.images += [values["src"]] if tag == "img" else []
        self.titles += [values["title"]] if tag == "figure" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("people")


@pytest.fixture(scope="module")
def table(root):
    return toy_table(root, noise=1.2)


@pytest.fixture(scope="module")
def evaluations(table):
    return evaluate(table, [SYSUProtocol(trials=3), SYSUProtocol("indoor", trials=2)], ["feat_bn"])


@pytest.fixture(scope="module")
def html(evaluations, table, root):
    return evaluation_report(evaluations, table, root, num_queries=3, num_hardest=4, top=5)


def test_every_section_of_every_result_is_there_once(html):
    page = Page(html)
    wanted = ["results", *(f"{name}-{n}" for n in (1, 2) for name in SECTIONS), "result-1", "result-2"]
    assert sorted(page.ids) == sorted(wanted)


def test_the_page_refers_to_nothing_outside_itself(html):
    page = Page(html)
    assert page.images and all(source.startswith("data:image/jpeg;base64,") for source in page.images)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    for word in ("http:", "https:", "url(", "@import", "<script", "file:"):
        assert word not in html


def test_the_numbers_of_the_result_stand_in_the_page(html, evaluations):
    text = Page(html).text
    for evaluation in evaluations:
        result = evaluation.result
        for name in ("R1", "mAP", "mINP"):
            assert f"{result.mean[name]:.2f}" in text and f"± {result.std[name]:.2f}" in text
            for value in result.values[name]:
                assert f"{value:.2f}" in text
        assert result.exclusion in text and result.checkpoint_sha256 in text and result.lineage in text


def test_images_can_be_left_out(evaluations, table):
    html = evaluation_report(evaluations[:1], table, data_root=None)
    page = Page(html)
    assert not page.images and "base64" not in html
    assert {f"{name}-1" for name in SECTIONS} <= set(page.ids)


def test_a_missing_image_is_named(evaluations, table, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cam\d/\d{4}/\d{4}\.png"):
        evaluation_report(evaluations, table, tmp_path)


def test_results_without_features_get_table_facts_and_cmc(evaluations):
    page = Page(results_report([evaluation.result for evaluation in evaluations]))
    assert {"facts-1", "cmc-1", "facts-2", "cmc-2"} <= set(page.ids) and "distances-1" not in page.ids
    assert "need the features" in page.text


def test_reranked_results_have_no_neighbours_of_the_plain_features(table):
    evaluations = evaluate(table, [SYSUProtocol(trials=1)], ["feat_bn"], rerank=True)
    page = Page(evaluation_report(evaluations, table, data_root=None))
    assert "best-1" in page.ids and "best-2" not in page.ids and "cmc-2" in page.ids


def test_names_cannot_break_the_page():
    table = toy_table()
    table.path[:] = [f'"><script>&{path}' for path in table.path]
    evil = GeneralProtocol(
        dict(modality="infrared"), dict(modality="visible"), name='<b>"own" & more</b><script>', trials=1
    )
    html = evaluation_report(evaluate(table, [evil], ["feat_bn"]), table, data_root=None)
    page = Page(html)
    assert "<script" not in html and '<b>"own" & more</b><script>' in page.text
    assert page.titles and all(title.startswith('"><script>&cam') for title in page.titles)


def test_a_protocol_without_draws_has_no_deviation(table):
    html = evaluation_report(evaluate(table, [RegDBProtocol()], ["feat_bn"]), table, data_root=None)
    page = Page(html)
    assert "Every gallery draw" not in page.text and 'class="band"' not in html


def test_nothing_to_report_is_an_error():
    with pytest.raises(ValueError, match="at least one result"):
        results_report([])


def browser() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(browser() is None, reason="needs Chromium or Chrome on the path")
def test_a_browser_shows_charts_and_pictures(html, tmp_path):
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    picture = tmp_path / "report.png"
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    subprocess.run(
        [
            *(browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *quiet, "--hide-scrollbars"),
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={picture}",
            "--window-size=1200,4000",
            (tmp_path / "report.html").as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with Image.open(picture) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}
        assert image.width == 1200
    paper, same, right, wrong = (251, 250, 247), (10, 106, 159), (6, 122, 91), (184, 72, 11)
    assert {paper, same, right, wrong} <= colours  # the page, the CMC line, frames of right and wrong
    for pid in range(1, 7):  # thumbnails are JPEG: nearly the colour of each person
        wanted = (40 * pid % 256, 90 * pid % 256)
        assert any(abs(r - wanted[0]) < 6 and abs(g - wanted[1]) < 6 for r, g, _ in colours)


def test_pairs_of_cameras_are_the_same_from_features_and_from_a_results_file(table, root):
    evaluations = evaluate(table, [SYSUProtocol(trials=3)], ["feat_bn"], with_cameras=True)
    result = evaluations[0].result
    whole = Page(evaluation_report(evaluations, table, root, num_queries=1, num_hardest=1, top=2))
    brief = Page(results_report([result]))
    worst = min(result.camera_pairs, key=lambda pair: pair["R1"])
    told = f"Worst is camera {worst['query_cam']} against {worst['gallery_cam']}, {worst['R1']:.1f} %"
    for page in (whole, brief):
        assert "cameras-1" in page.ids and told in page.text
        assert all(f"mAP {pair['mAP']:.1f}" in page.text for pair in result.camera_pairs)
    assert told in Page(evaluation_report(evaluate(table, [SYSUProtocol(trials=3)], ["feat_bn"]), table, root)).text


def test_a_corrupted_result_says_so_in_its_facts(evaluations):
    condition = dict(corruption="fog", family="weather", severity=3, modality="visible")
    page = Page(results_report([replace(evaluations[0].result, condition=condition), evaluations[0].result]))
    assert "fog 3 on visible" in page.words and "as they are" in page.words
