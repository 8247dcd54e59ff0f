"""What a strict content policy, both themes and hashed files need of the files themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

STATIC = settings.BASE_DIR / "static"
TEMPLATES = sorted((settings.BASE_DIR / "templates").rglob("*.html"))
STYLES = sorted((STATIC / "css").rglob("*.css"))
SCRIPTS = sorted((STATIC / "js").rglob("*.js"))
INLINE = re.compile(
    r"""\sstyle=|<style|\son[a-z]+=["']|hx-on|["']js:|<script(?![^>]*\ssrc=)(?![^>]*application/json)"""
)


def relative(path: Path) -> str:
    return str(path.relative_to(settings.BASE_DIR))


@pytest.mark.parametrize("template", TEMPLATES, ids=relative)
def test_a_template_holds_no_inline_script_or_style(template):
    assert not INLINE.findall(template.read_text())


@pytest.mark.parametrize("style", STYLES, ids=relative)
def test_a_style_sheet_takes_its_colours_from_the_tokens(style):
    text = style.read_text()
    assert "!important" not in text
    assert style.name == "tokens.css" or not re.findall(r"#[0-9a-f]{3,8}\b|rgba?\(|hsla?\(", text)


def test_every_token_that_is_used_is_defined():
    text = "".join(style.read_text() for style in STYLES)
    assert set(re.findall(r"var\((--[\w-]+)", text)) <= set(
        re.findall(r"^\s*(--[\w-]+):", text, re.M)
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=relative)
def test_a_script_is_small_and_evaluates_nothing(script):
    text = script.read_text()
    assert len(text.splitlines()) <= 80
    assert not re.findall(r"\beval\(|new Function|innerHTML\s*=|insertAdjacentHTML|\.cssText", text)


def test_every_icon_that_a_template_names_is_in_the_sprite():
    drawn = set(re.findall(r'<symbol id="([\w-]+)"', (STATIC / "icons.svg").read_text()))
    text = "".join(template.read_text() for template in TEMPLATES)
    used = set(re.findall(r"""{% icon ["']([\w-]+)""", text))
    used |= set(re.findall(r"""{% (?:empty_state|menu) [^%]*icon=["']([\w-]+)""", text))
    assert used <= drawn


@pytest.fixture
def collected(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "openledger_site.core.storage.ModuleManifestStaticFilesStorage"}
    }
    call_command("collectstatic", interactive=False, verbosity=0)
    return tmp_path


def test_modules_import_each_other_by_hashed_name(collected):
    hashed = [
        path for path in collected.rglob("js/**/*.js") if path.parent.name in {"js", "wallet"}
    ]
    ours = [path for path in hashed if re.search(r"\.[0-9a-f]{12}\.js$", path.name)]
    targets = re.findall(
        r'from\s*"(\.[^"]+)"|import\s*\(?"(\.[^"]+)"', "".join(map(Path.read_text, ours))
    )
    assert len(targets) > 20
    assert all(re.search(r"\.[0-9a-f]{12}\.js$", one or other) for one, other in targets)


def test_nothing_that_a_page_hides_is_shown_by_a_part_of_it():
    layout = (STATIC / "css" / "layout.css").read_text()
    order = re.search(r"@layer ([\w, ]+);", (STATIC / "css" / "tokens.css").read_text())
    assert order is not None
    assert order[1].split(", ")[-1] == "utilities"
    assert "[hidden] { display: none; }" in layout[layout.index("@layer utilities") :]
