"""The page's copy of the text about people who are searched for says what the docs say."""

from __future__ import annotations

import html
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_both_have_the_same_words():
    text = (ROOT / "docs" / "responsible_use.md").read_text(encoding="utf-8")
    text = re.sub(r"^\|[-|]+\|$", "", text, flags=re.MULTILINE)
    page = (ROOT / "mscmreid" / "serving" / "static" / "responsible_use.html").read_text(encoding="utf-8")
    page = page[page.index("<h1>") :]
    words = re.sub(r"^[-#]+ |[|]", " ", text.replace("`", ""), flags=re.MULTILINE).split()
    assert html.unescape(re.sub(r"<[^>]+>", " ", page.replace("</code>", "").replace("<code>", ""))).split() == words
    assert len(words) > 500


def test_the_page_and_the_readme_lead_to_it():
    assert 'href="/responsible-use"' in (ROOT / "mscmreid" / "serving" / "static" / "index.html").read_text()
    assert "(docs/responsible_use.md)" in (ROOT / "README.md").read_text()
