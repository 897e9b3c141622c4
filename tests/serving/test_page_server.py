"""The page's server: what it answers, and what it does with requests that are not as the page makes them."""

from __future__ import annotations

import csv
import io
import json
import random
import string
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from colour_gallery import draw, make_gallery
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra serve")
httpx = pytest.importorskip("httpx", reason="needs the extra test")

from fastapi.testclient import TestClient  # noqa: E402

from mscmreid.serving.app import Limits, make_app, shown_name  # noqa: E402
from mscmreid.serving.guard import SECURITY, is_loopback  # noqa: E402
from mscmreid.serving.marks import COLUMNS, Marks  # noqa: E402

OWN = {"X-Mscmreid": "1"}
LIMITS = Limits(megabytes=0.2, megapixels=0.1)


@pytest.fixture
def gallery(tmp_path):
    return make_gallery(tmp_path)


@pytest.fixture
def client(gallery):
    app = make_app(gallery, Marks(gallery.path / "marks.csv"), limits=LIMITS)
    return TestClient(app, base_url="http://127.0.0.1", headers=OWN, raise_server_exceptions=False)


def png(path: Path, colour: str = "red") -> bytes:
    return draw(path, colour, 3).read_bytes()


def test_an_upload_finds_its_colour_and_filters_hold(client, gallery, tmp_path):
    body = png(tmp_path / "query.png")
    answer = client.post("/api/search?modality=infrared&top=4", content=body).json()
    assert [hit["id"] for hit in answer["hits"]].count("red") >= 3
    expected = gallery.search(tmp_path / "query.png", "infrared", top=4)[0]
    assert [hit["row"] for hit in answer["hits"]] == [hit.row for hit in expected]
    assert answer["hits"][0]["score"] == pytest.approx(expected[0].score, abs=1e-6)
    assert "cosine" in answer["trust"] and answer["verdict"] == "" and answer["query"]["key"].startswith("sha256:")
    for params, kept in (
        ("of=visible", {"1"}),
        ("camera=2", {"2"}),
        ("exclude_camera=2", {"1"}),
        ("since=2026-11-25T12:00", {"2"}),
        ("until=2026-11-25T12:00", {"1"}),
    ):
        hits = client.post(f"/api/search?modality=infrared&top=200&{params}", content=body).json()["hits"]
        assert {hit["camera"] for hit in hits} == kept, params


def test_a_row_as_query_does_not_find_itself(client):
    rows = client.get("/api/rows?camera=2").json()
    assert rows["total"] == 12
    first = rows["hits"][0]
    answer = client.post(f"/api/search?row={first['row']}&top=200").json()
    assert answer["query"]["card"]["name"] == first["name"] and answer["query"]["key"] == f"row:{first['row']}"
    assert first["row"] not in [hit["row"] for hit in answer["hits"]] and len(answer["hits"]) == 24


def test_new_images_and_removed_ones_are_seen_at_once(client, gallery, tmp_path):
    from mscmreid.retrieval.gallery import Gallery

    other = Gallery.open(gallery.path, gallery.encoder)
    other.add(draw(tmp_path / "new" / "late.png", "blue", 1), "visible", camera="7")
    assert client.get("/api/info").json()["images"] == 26
    row = client.get("/api/rows?camera=7").json()["hits"][0]["row"]
    other.remove(rows=[row])
    assert client.get("/api/rows?camera=7").json()["total"] == 0
    assert client.get(f"/image/{row}").status_code == 404


def test_pictures_are_made_anew_and_of_rows_only(client, gallery):
    row = client.get("/api/rows").json()["hits"][0]["row"]
    answer = client.get(f"/image/{row}?size=large")
    assert answer.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.format == "JPEG" and image.size == (24, 48)
    for path in ("/image/999", "/image/-1", "/image/1.5", "/image/..%2f..%2fetc%2fpasswd", f"/image/{2**70}"):
        assert client.get(path).status_code in (404, 422), path
    for path in ("/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/index.html", "/docs"):
        assert client.get(path).status_code == 404, path


def test_marks_are_appended_and_the_last_one_counts(client, gallery, tmp_path):
    query = client.get("/api/rows?camera=2").json()["hits"][0]
    hit = client.post(f"/api/search?row={query['row']}").json()["hits"][0]
    said = dict(query=f"row:{query['row']}", name="=HYPERLINK(1)", row=hit["row"], score=hit["score"], mark="right")
    for mark in ("right", "wrong"):
        assert client.post("/api/mark", content=json.dumps({**said, "mark": mark})).status_code == 200
    again = client.post(f"/api/search?row={query['row']}").json()["hits"]
    assert [h["mark"] for h in again][:2] == ["wrong", None]
    with (gallery.path / "marks.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == COLUMNS and [line["mark"] for line in lines] == ["right", "wrong"]
    assert lines[0]["query_name"].endswith("cam2/red_0.png")  # of a row the server knows the name
    taken_back = {**said, "query": "sha256:" + "0" * 64, "mark": "right"}
    assert client.post("/api/mark", content=json.dumps(taken_back)).status_code == 200
    assert Marks(gallery.path / "marks.csv").of(f"row:{query['row']}") == {hit["row"]: "wrong"}
    assert "'=HYPERLINK(1)" in (gallery.path / "marks.csv").read_text()  # no formula for a spreadsheet


def test_a_cut_off_line_of_marks_costs_that_line_only(tmp_path):
    path = tmp_path / "marks.csv"
    Marks(path).add("row:1", "a", 2, "b", 0.5, "right")
    with path.open("a") as file:
        file.write("2026-11-26,row:1,a,3,b")
    marks = Marks(path)
    marks.add("row:1", "a", 4, "b", None, "wrong")
    assert Marks(path).of("row:1") == {2: "right", 4: "wrong"}
    path.write_text("other,columns\n1,2\n")
    with pytest.raises(ValueError, match="must have the columns"):
        Marks(path)


def test_every_answer_forbids_what_the_page_does_not_need(client):
    for path in ("/", "/responsible-use", "/api/info", "/static/page.js", "/nothing", "/image/1"):
        headers = client.get(path).headers
        assert all(headers[name] == value for name, value in SECURITY.items()), path
    assert "unsafe" not in SECURITY["content-security-policy"]


def test_pages_name_no_other_host():
    from mscmreid.serving.app import STATIC

    for file in STATIC.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text and "style=" not in text and " onclick" not in text, file.name


def test_other_sites_and_other_names_are_refused(gallery):
    app = make_app(gallery, Marks(gallery.path / "marks.csv"))
    plain = TestClient(app, base_url="http://127.0.0.1")
    assert plain.post("/api/search?row=0").status_code == 403  # without the page's own header
    assert plain.options("/api/search", headers={"Origin": "http://evil"}).status_code == 403
    assert TestClient(app, base_url="http://evil.example").get("/api/info").status_code == 421
    assert TestClient(app, base_url="http://localhost:8765").get("/api/info").status_code == 200


def test_with_a_token_nothing_is_shown_without_it(gallery):
    app = make_app(gallery, Marks(gallery.path / "marks.csv"), hosts=("camera-room",), token="secret")
    client = TestClient(app, base_url="http://camera-room:8765", headers=OWN, follow_redirects=False)
    for path in ("/", "/api/info", "/image/0", "/static/page.js", "/?token=wrong", "/api/info?token=secret"):
        assert client.get(path).status_code == 401, path
    answer = client.get("/?token=secret")
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    assert "HttpOnly" in answer.headers["set-cookie"] and "SameSite=Strict" in answer.headers["set-cookie"]
    assert client.get("/api/info").status_code == 200
    cookie = {"Cookie": "mscmreid_token=secret"}
    for host, status in (("10.0.0.7:8765", 200), ("[fe80::1]:8765", 200), ("fe80::1", 421), ("evil.example", 421)):
        assert client.get("/api/info", headers={"Host": host, **cookie}).status_code == status, host
        assert client.get("/api/info", headers={"Host": host, "Cookie": "x=y"}).status_code in (401, 421), host
    for host in ("", "camera-room.evil.example", "10.0.0.7.evil.example", "<script>"):
        assert client.get("/?token=secret", headers={"Host": host}).status_code == 421, host
    assert is_loopback("::1") and is_loopback("127.0.0.2") and not is_loopback("0.0.0.0")


def test_too_large_uploads_are_refused_by_bytes_and_by_pixels(client):
    assert client.post("/api/search?modality=visible", content=b"x" * 300_000).status_code == 413

    def without_length():
        for _ in range(300):
            yield b"x" * 1000

    assert client.post("/api/search?modality=visible", content=without_length()).status_code == 413
    buffer = io.BytesIO()
    Image.new("L", (3000, 3000)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 200_000
    answer = client.post("/api/search?modality=visible", content=buffer.getvalue())
    assert answer.status_code == 400 and "pixels" in answer.json()["error"]


def test_the_map_has_a_point_for_every_image(client):
    plane = client.get("/api/map").json()
    points = np.array(plane["points"])
    assert points.shape == (25, 2) and points.min() == 0 and points.max() == 1
    assert sorted(plane["row"]) == list(range(25)) and set(plane["camera"]) == {"1", "2"}
    assert client.get("/api/map?how=magic").status_code == 422


def test_names_are_shown_below_the_gallery_s_folders_and_always_as_text(tmp_path):
    assert shown_name("/data/cam1/a.png", ["/data", "/data/cam1"]) == "a.png"
    assert shown_name("/data/cam1/a.png", ["/data"]) == "cam1/a.png"
    assert shown_name("/other/a.png", ["/data"]) == "a.png"
    shown_name("/data/\udcff\n\u202e.png", ["/data"]).encode("utf-8")


# --------------------------------------------------------------------------------------------------- malformed requests

SECRET = b"the content of a file outside of the gallery"


def malformed(rng: random.Random, outside: Path) -> tuple[str, str, dict[str, str], bytes]:
    """(method, path, headers, body) of a request that no page makes."""
    tricks = ["../" * 8 + "etc/passwd", "..%2f..%2f", str(outside), f"file://{outside}", "%00", "a" * 5000, "<script>"]
    tricks += [
        "'; --",
        "${7*7}",
        "\u202e",
        "%ff%fe",
        "-1",
        "1e9",
        "NaN",
        str(2**63),
        str(10**400),
        "",
        " ",
        "[]",
        "0x1",
    ]
    word = rng.choice([*tricks, "".join(rng.choices(string.printable, k=rng.randrange(1, 40)))])
    value = quote(word, safe="%" if "%" in word else "")
    names = [
        "row",
        "modality",
        "top",
        "camera",
        "exclude_camera",
        "since",
        "until",
        "of",
        "start",
        "number",
        "how",
        "size",
    ]
    query = "&".join(
        f"{rng.choice(names)}={rng.choice([value, 'visible', '1', '2026-11-25'])}" for _ in range(rng.randrange(4))
    )
    places = [
        "/api/search",
        "/api/search",
        "/api/search",
        "/api/mark",
        "/api/mark",
        "/api/rows",
        "/api/map",
        "/api/info",
        "/image/0",
        f"/image/{value}",
    ]
    places += [f"/static/{value}", f"/{value}", "/", "/responsible-use"]
    image = io.BytesIO()
    Image.new("RGB", (rng.choice([1, 24, 400]), rng.choice([1, 48, 400]))).save(
        image, rng.choice(["PNG", "JPEG", "GIF"])
    )
    whole = image.getvalue()
    mark = dict(
        query=rng.choice(["row:1", word, 5, None, "sha256:zz"]),
        name=rng.choice([word, 3]),
        row=rng.choice([1, -1, 10**30, "1", True, 1.5]),
    )
    mark |= dict(score=rng.choice([None, 0.5, 1e300, "x"]), mark=rng.choice(["right", word, [], None]))
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
    bodies = [
        b"",
        b"\x00" * 50,
        rng.randbytes(200),
        whole,
        whole[: len(whole) // 2],
        svg,
        b"GIF89a" + rng.randbytes(30),
    ]
    bodies += [json.dumps(mark).encode(), b"[" * 3000, b'{"row": 1' + b"0" * 5000 + b"}", json.dumps(word).encode()]
    bodies += [b"--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"../../x\"\r\n\r\nabc"]
    kinds = [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "image/png",
        "text/html;charset=\xff",
    ]
    headers = {"Content-Type": rng.choice(kinds)}
    if rng.random() < 0.1:
        headers |= rng.choice(
            [{"Cookie": "a=\"; =;;"}, {"Content-Length": "-5"}, {"Range": "bytes=9-1"}, {"Host": "["}]
        )
    place = rng.choice(places)
    method = "POST" if place in ("/api/search", "/api/mark") else "GET"
    if rng.random() < 0.15:
        method = rng.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
    return method, place + (f"?{query}" if query else ""), headers, rng.choice(bodies)


def bombard(client: TestClient, root: Path, number: int, seed: int) -> dict[int, int]:
    """Status -> how often, of that many malformed requests."""
    outside = root / "outside.txt"
    outside.write_bytes(SECRET)
    rng, seen = random.Random(seed), {}
    for i in range(number):
        method, path, headers, body = malformed(rng, outside)
        try:
            answer = client.request(method, path, headers=headers, content=body)
        except (UnicodeEncodeError, httpx.InvalidURL):
            continue  # the client cannot even send it
        assert answer.status_code < 500, (seed, i, method, path, headers, body[:100], answer.text)
        assert SECRET not in answer.content and b"root:" not in answer.content, (seed, i, path)
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
    return seen


def test_malformed_requests_are_refused_and_nothing_breaks(client, tmp_path):
    seen = bombard(client, tmp_path, 150, seed=1)
    assert sum(seen.values()) > 120 and {400, 404, 405, 422} <= set(seen)
    assert client.get("/api/info").json()["images"] == 25
