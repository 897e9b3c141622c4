"""The report: whole, self-contained, honest about what is left out, and readable in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from toy_people import toy_table

from mscmreid.evaluation import GeneralProtocol, RegDBProtocol, SYSUProtocol, evaluate
from mscmreid.visualization.report import evaluation_report, results_report
from mscmreid.visualization.report_space import map_part
from mscmreid.visualization.thumbnails import Thumbnails

VOID = {"meta", "img", "br", "link", "input", "hr"}
SECTIONS = ("facts", "cmc", "distances", "cameras", "errors", "hardest", "best", "worst")
SPACE = ("space-1", "map-1", "modalities-1", "gap-1")


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
        self.scripts: list[tuple[str | None, str]] = []
        self.policy = ""
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("href", "src", "srcset", "data", "action") if name in values]
        self.images += [values["src"]] if tag == "img" else []
        self.titles += [values["title"]] if tag == "figure" else []
        self.scripts += [(values.get("type"), "")] if tag == "script" else []
        if tag == "meta" and values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        else:
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
    wanted = ["results", *(f"{name}-{n}" for n in (1, 2) for name in SECTIONS), "result-1", "result-2", *SPACE]
    wanted += ["sprite-1"]
    assert sorted(page.ids) == sorted(wanted)


def test_the_page_refers_to_nothing_outside_itself(html):
    page = Page(html)
    assert page.images and all(source.startswith("data:image/jpeg;base64,") for source in page.images)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    for word in ("http:", "https:", "url(", "@import", "file:", "fetch(", "XMLHttp", "import(", "eval("):
        assert word not in html


def test_one_script_alone_may_run_and_nothing_may_be_loaded(html, evaluations):
    page = Page(html)
    assert [kind for kind, _ in page.scripts] == ["application/json", None]
    digest = base64.b64encode(hashlib.sha256(page.scripts[1][1].encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in page.policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "script-src": f"'sha256-{digest}'",
    }
    brief = Page(results_report([evaluation.result for evaluation in evaluations]))
    assert not brief.scripts and "script-src" not in brief.policy and "default-src 'none'" in brief.policy


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
    assert not page.images and "data:image" not in html
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
    assert len(page.scripts) == 2 and '<b>"own" & more</b><script>' in page.text
    assert json.loads(page.scripts[0][1])["path"][0].startswith('"><script>&cam')
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
            "--window-size=1200,6000",
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
    page = Page(results_report([replace(evaluations[0].result, condition=condition), evaluations[1].result]))
    assert "fog 3 on visible" in page.words and "as they are" in page.words  # of another protocol: a chapter each


def corrupted(result, **conditions):
    """What a result is under bad conditions: corruption -> mAP at severities 1 and 3; Rank-1 is half of it."""
    families = dict(fog="weather", gaussian_noise="noise", dead_pixels="infrared")
    found = []
    for name, values in conditions.items():
        for severity, value in zip((1, 3), values, strict=True):
            condition = dict(corruption=name, family=families[name], severity=severity, modality="visible")
            numbers = {
                measure: [value if measure == "mAP" else value / 2] * result.num_trials for measure in result.values
            }
            found.append(replace(result, condition=condition, values=numbers))
    return found


def test_bad_conditions_stand_beside_the_clean_numbers(evaluations, table):
    clean = evaluations[0].result
    bad = corrupted(clean, fog=(40.0, 20.0), gaussian_noise=(10.0, 30.0), dead_pixels=(1.0, 2.0))
    other = replace(bad[0], checkpoint_sha256="another")
    brief = results_report([clean, evaluations[1].result, *bad])
    whole = evaluation_report(evaluations, table, None, corrupted=[*bad, other])
    for html in (brief, whole):
        page = Page(html)
        assert {"conditions-1", "result-2"} <= set(page.ids)
        assert not {"conditions-2", "result-3"} & set(page.ids)
        text = html[html.index('id="conditions-1"') :]
        text = text[: text.index("</section>")]
        cells = re.findall(r"<td[^>]*>([^<]*)</td>", text)
        lost = clean.mean["mAP"] - 25
        assert f"{clean.mean['mAP']:.1f}" in cells and "25.0" in cells and f"{lost:.1f}" in cells  # without infrared
        assert {"30.0", "20.0", "1.5"} <= set(cells)  # weather, noise, infrared: means over the severities
        assert text.count("<svg") == 3 and "dead pixels" in text
    with pytest.raises(ValueError, match="must be of the same checkpoint"):
        evaluation_report(evaluations, table, None, corrupted=[other])


def test_a_map_can_be_left_out(evaluations, table):
    page = Page(evaluation_report(evaluations[:1], table, None, embedding="none"))
    assert "map-1" not in page.ids and "modalities-1" in page.ids and not page.scripts


def test_a_map_has_every_image_of_the_protocols_and_says_what_it_leaves_out(html, table, evaluations, root):
    data = json.loads(Page(html).scripts[0][1])
    used = np.unique(np.concatenate([np.r_[s.query, s.gallery] for e in evaluations for s in e.selections]))
    assert sorted(data["path"]) == sorted(table.path[row] for row in used)
    for name, column in (("pid", table.pid), ("cam", table.cam_id)):
        assert data[name] == [int(column[table.path.index(path)]) for path in data["path"]]
    assert sorted(data["tile"]) == list(range(len(used))) and data["sprite"]["id"] == "sprite-1"
    part = map_part(table.matrix("feat_bn"), table, used, "pca", Thumbnails(table, root), most=10)
    assert "10 images of" in part["told"] and len(part["map"]["data"]["x"]) == 10
    assert map_part(table.matrix("feat_bn"), table, used[:3], "pca", Thumbnails(table, root))["map"] is None
    few = Thumbnails(table, root).sprite(used, most=4)
    assert sorted(few[1].values()) == [0, 1, 2, 3] and few[0]["columns"] == 4
