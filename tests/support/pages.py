"""HTML pages in tests: their elements, and their requests in headless Chromium."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

BROWSER_INITIATED = '"initiator":"not an origin"'  # requests of the browser itself
URL_ATTRIBUTES = {"src", "srcset", "href", "data", "action", "poster", "background", "formaction"}


class ElementParser(HTMLParser):
    """Parses a page into its elements and their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))


def browse(page_file: Path, *options: str) -> str:
    """Return the output of headless Chromium for a page, without network access."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--disable-features=NetworkTimeServiceQuerying"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND"]  # no request leaves this machine
    command += [f"--user-data-dir={page_file.parent / 'profile'}", *options, page_file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


def record_requests(html: str, folder: Path, *, expected: str) -> set[str]:
    """Return the URLs that the page requests, according to the network log of the browser.

    The page must contain the text `expected`.
    """
    page_file, log = folder / "page.html", folder / "net.json"
    page_file.write_text(html, encoding="utf-8")
    output = browse(page_file, "--dump-dom", f"--log-net-log={log}")
    assert expected in output
    events = [line for line in log.read_text(errors="replace").splitlines() if '"url":' in line]
    assert events, "the network log is empty"
    page_events = [
        line for line in events if '"initiator":' in line and BROWSER_INITIATED not in line
    ]
    return {url for line in page_events for url in re.findall(r'"url":"([^"]*)"', line)}
