"""What every page holds to: it fetches nothing, and what runs and data sets say in it is text."""

import html.parser
import importlib.resources
import json
import re

from frown_jax.report import chart

# Names that a data set or a config may bring, each a way out of some place of a page.
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror="alert(2)">',
    "' onmouseover='alert(3)' x='",
    "</script><script>alert(4)</script>",
    "<!--<script>",
    "</title><base href=//evil.example>",
    "]]></style><style>*{display:none}",
    "{{ 7 * 7 }}{% endraw %}",
    "&lt;b&gt;",
)
# The elements of a page, and the attributes that they may have.
_ALLOWED = {
    "html": {"lang"},
    "meta": {"charset", "http-equiv", "content", "name"},
    "a": {"class", "href"},
    "nav": {"aria-label"},
    "main": {"id"},
    "section": {"id"},
    "div": {"class", "tabindex", "role", "aria-label"},
    "th": {"scope"},
    "td": {"class"},
    "figure": {"class", "id", "data-choices"},
    "img": {"alt", "src"},
    "details": {"class"},
    "script": {"type", "class"},
    **{name: set() for name in ("head", "title", "style", "body", "header", "h1", "h2", "ul", "li", "p", "table")},
    **{name: set() for name in ("thead", "tbody", "tr", "figcaption", "noscript", "summary")},
}
_EMPTY = {"meta", "img"}


def self_contained(text):
    """Whether a page refers to nothing outside, and tells the browser to refuse what did."""
    elements = re.sub(r"<script\b.*?</script>", "", text, flags=re.S)
    return not re.search(r'(src|href)="(?!data:|#)', elements) and "default-src 'none'" in elements


class Page(html.parser.HTMLParser):
    """A page as a parser sees it.

    Attributes:
      elements: (tag, attributes, text) of each, in the order in which they close.
    """

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def of(self, tag):
        """Attributes and text of every element with this tag."""
        return [(attributes, text) for name, attributes, text in self.elements if name == tag]

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        if tag in _EMPTY:
            self.elements.append((tag, dict(attrs), ""))
        else:
            self._open.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        name, attributes, parts = self._open.pop()
        assert name == tag, (name, tag)
        self.elements.append((tag, attributes, "".join(parts)))

    def handle_data(self, data):
        if self._open:
            self._open[-1][2].append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl):
        assert decl == "doctype html"

    def handle_pi(self, data):
        raise AssertionError(f"a processing instruction: {data}")

    def unknown_decl(self, data):
        raise AssertionError(f"a declaration: {data}")


def parsed(text):
    """The page, of which all is checked that does not depend on what it shows: no name became an element, an attribute,
    a style or a script.
    """
    assert self_contained(text)
    page = Page(text)
    for tag, attributes, _ in page.elements:
        assert tag in _ALLOWED and set(attributes) <= _ALLOWED[tag], (tag, attributes)
    assets = importlib.resources.files("frown_jax.report")
    assert page.of("style") == [({}, (assets / "page.css").read_text())]
    drawn = [attributes for attributes, _ in page.of("figure") if attributes.get("class") == "chart"]
    own = [*([chart.library()] if drawn else []), (assets / "page.js").read_text()]
    assert [text for attributes, text in page.of("script") if not attributes] == own
    data = [(attributes, text) for attributes, text in page.of("script") if attributes]
    expected = [{"type": "application/json", "class": name} for _ in drawn for name in ("spec", "data")]
    assert [attributes for attributes, _ in data] == expected
    for text in (*(text for _, text in data), *(attributes["data-choices"] for attributes in drawn)):
        assert isinstance(json.loads(text), dict)
    ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert all(attributes["href"][0] == "#" and attributes["href"][1:] in ids for attributes, _ in page.of("a"))
    assert len(page.of("a")) == 1 + len(page.of("section"))
    assert all(re.match(r"data:image/(png|svg\+xml);base64,[\w+/=]+$", a["src"]) for a, _ in page.of("img"))
    return page
