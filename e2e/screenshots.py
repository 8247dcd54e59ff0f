"""The pictures in docs/images, from a site of their own: `python -m e2e.screenshots`.

The whole thread is walked first, so every figure in a picture is one that the site worked out.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import Browser

from e2e.browser import Visitor, chromium
from e2e.site import ROOT, make_site
from e2e.walk import Walk

FOLDER = ROOT / "docs" / "images"
SIZE_MAX_BYTES = 300_000
PICTURES = {
    "receipt": ("Emil", "receipt"),
    "model": ("Emil", "model"),
    "chat": ("Emil", "chat"),
    "run": ("Dora", "run"),
    "earnings": ("Ada", "/rewards/earnings/"),
}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="openledger-pictures-") as name:
        Path(name).chmod(0o755)  # PostgreSQL's own user must get in
        site = make_site(Path(name))
        site.start()
        try:
            with chromium() as browser:
                walk = Walk(site, browser).run()
                walk.close()
                take(browser, walk)
        finally:
            site.stop()


def take(browser: Browser, walk: Walk) -> None:
    for picture, (name, place) in PICTURES.items():
        visitor = Visitor(browser, walk.site.url, storage_state=walk.sessions[name])
        page = visitor.visit(walk.paths.get(place, place))
        page.wait_for_load_state("networkidle")
        path = FOLDER / f"{picture}.png"
        page.screenshot(path=path, full_page=True, animations="disabled")
        visitor.close()
        size = path.stat().st_size
        if size > SIZE_MAX_BYTES:
            raise SystemExit(f"{path.name} has {size} bytes; at most {SIZE_MAX_BYTES}.")
        print(f"{path.relative_to(ROOT)}  {size} bytes")


if __name__ == "__main__":
    main()
