"""The shared parts of every page; docs/ui.md is their manual."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import zip_longest

from django import template
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from openledger_site.core.money import format_open
from openledger_site.core.templatetags.ui_figures import chart, identicon_svg, slices

register = template.Library()

STATES_BY_TONE = {
    "live": "running training loading streaming active live",
    "good": "accepted approved succeeded done published verified credited claimed paid confirmed"
    " healthy listed anchored payable executed ok granted",
    "warn": "pending queued waiting holding draft paused proposed restricted"
    " needs_mapping needs_decision",
    "bad": "rejected failed cancelled revoked withdrawn voided expired retired slashed vetoed"
    " defeated canceled error refused",
    "info": "claimable public new posted sent submitted",
}
TONE_BY_STATE = {state: tone for tone, states in STATES_BY_TONE.items() for state in states.split()}


@register.simple_tag
def icon(name: str, css_class: str = "") -> SafeString:
    """Point at one symbol of static/icons.svg; decorative, so hidden from screen readers."""
    return format_html(
        '<svg class="icon {}" aria-hidden="true" focusable="false"><use href="{}#{}"/></svg>',
        css_class,
        static("icons.svg"),
        name,
    )


@register.simple_tag(takes_context=True)
def nav_link(
    context: template.Context, url_name: str, label: str, css_class: str = "", section: str = ""
) -> str:
    """Link to a section, marked as current inside it; nothing when the route does not exist.

    `section` names the route that the section begins at, where the link leads deeper.
    """
    try:
        url = reverse(url_name)
    except NoReverseMatch:
        return ""
    request = context.get("request")
    path = request.path if request is not None else ""
    begin = reverse(section) if section else url
    current = path == begin or (begin != "/" and path.startswith(begin))
    return format_html(
        '<a class="{}" href="{}"{}>{}</a>',
        css_class,
        url,
        SafeString(' aria-current="page"') if current else "",
        label,
    )


@register.filter
def sentence_case(text: str) -> str:
    """“ Change Password ” as “Change password”: for headings and buttons of other packages."""
    return text.strip().capitalize()


@register.inclusion_tag("components/breadcrumbs.html")
def breadcrumbs(*parts: object) -> dict[str, object]:
    """Take label, url, label, url, …; a last label without url is the page itself."""
    pairs = zip_longest(parts[::2], parts[1::2], fillvalue="")
    return {"crumbs": [{"label": label, "url": url} for label, url in pairs]}


@register.inclusion_tag("components/stepper.html")
def stepper(current: int, *labels: str) -> dict[str, object]:
    """Show the steps of a wizard; `current` counts from 1."""
    return {
        "current": current,
        "steps": [{"number": number, "label": label} for number, label in enumerate(labels, 1)],
        "count": len(labels),
    }


@register.inclusion_tag("components/stat.html")
def stat(label: str, value: object, help: str = "") -> dict[str, object]:
    """One figure inside `<dl class="stats">`."""
    return {"label": label, "value": value, "help": help}


@register.inclusion_tag("components/progress.html")
def progress(
    value: float | None, maximum: float | None = 100, label: str = ""
) -> dict[str, object]:
    """A progress bar; without a value or a maximum it says only that work goes on."""
    known = value is not None and bool(maximum)
    percent = int(value * 100 // maximum) if value is not None and maximum else 0
    return {
        "value": value,
        "maximum": maximum,
        "percent": percent,
        "label": label,
        "known": known,
    }


@register.simple_tag
def pill(state: object, label: str = "", tone: str = "") -> SafeString:
    """Name a state; its tone follows from the word unless given (neutral, info, good, warn…)."""
    word = str(state)
    chosen = tone or TONE_BY_STATE.get(word.lower(), "neutral")
    text = label or word.replace("_", " ").capitalize()
    return format_html('<span class="pill pill-{}">{}</span>', chosen, text)


@register.simple_tag
def open_amount(
    wei: int | None, digits: int = 4, sign: bool = False, aligned: bool = False
) -> SafeString:
    """An amount of OPEN, cut (never rounded up), with every wei in the title.

    `aligned` keeps the zeros at the end, so that the points of a column stand under each other.
    """
    if wei is None:
        return format_html('<span class="muted">{}</span>', "—")
    amount = int(wei)
    return format_html(
        '<data class="amount" value="{}" title="{} wei">{}<span class="amount-unit"> OPEN</span>'
        "</data>",
        amount,
        f"{amount:,}",
        ("+" if sign and amount > 0 else "")
        + format_open(amount, digits, aligned=aligned).replace("-", "\N{MINUS SIGN}"),
    )


@register.inclusion_tag("components/chip.html")
def chip(value: object, kind: str = "hash", identicon: bool = False) -> dict[str, object]:
    """A long identifier, shortened in the middle, with a button that copies all of it."""
    text = str(value)
    head = 8 if text.startswith("0x") else 6
    short = text if len(text) <= head + 7 else f"{text[:head]}…{text[-4:]}"
    return {"value": text, "short": short, "kind": kind, "identicon": identicon}


@register.simple_tag
def identicon(seed: object, size: int = 24) -> SafeString:
    """The same small picture for the same seed, always."""
    return identicon_svg(str(seed), size)


@register.inclusion_tag("components/share_bar.html")
def share_bar(shares: Iterable[object]) -> dict[str, object]:
    """Who gets which part: a stacked bar with its legend."""
    return {"slices": slices(shares)}


@register.inclusion_tag("components/line_chart.html")
def line_chart(
    series: Iterable[Mapping[str, object]], label: str = "", x_label: str = "", y_label: str = ""
) -> dict[str, object]:
    """Lines over steps, for example training and held-out loss."""
    return {"chart": chart(series), "label": label, "x_label": x_label, "y_label": y_label}


def _block(name: str, content: str, **context: object) -> SafeString:
    return render_to_string(f"components/{name}.html", {"content": content, **context})


@register.simple_block_tag(end_name="endpage_header")
def page_header(content: str, title: str, lede: str = "", eyebrow: str = "") -> SafeString:
    """The page's only h1, with its actions on the right."""
    return _block("page_header", content, title=title, lede=lede, eyebrow=eyebrow)


@register.simple_block_tag
def card(content: str, title: str = "", href: str = "", tone: str = "") -> SafeString:
    """A panel; with `href` its title is a link."""
    return _block("card", content, title=title, href=href, tone=tone)


@register.simple_block_tag(end_name="endempty_state")
def empty_state(content: str, title: str, icon: str = "file") -> SafeString:
    """Nothing here yet, and what to do about it."""
    return _block("empty_state", content, title=title, icon=icon)


@register.simple_block_tag
def notice(content: str, tone: str = "info", title: str = "") -> SafeString:
    """A message that belongs to one place on the page; tones: info, good, warn, bad."""
    return _block("notice", content, tone=tone, title=title)


@register.simple_block_tag
def dialog(content: str, id: str, title: str) -> SafeString:
    """A modal dialog, opened by any button with `data-dialog-open`."""
    return _block("dialog", content, id=id, title=title)


@register.simple_block_tag
def menu(content: str, label: str, icon: str = "") -> SafeString:
    """A drop-down list of links and buttons."""
    return _block("menu", content, label=label, icon=icon)


@register.simple_block_tag(end_name="endcode_block")
def code_block(content: str, label: str = "") -> SafeString:
    """Text to copy, as it stands."""
    return _block("code_block", content, label=label)
