"""The shared parts of pages: what they say, what they hide, what they never do."""

from __future__ import annotations

import re

import pytest
from django.template import Context, Template
from django.test import RequestFactory

from openledger_site.core.templatetags.ui import STATES_BY_TONE, TONE_BY_STATE
from openledger_site.core.templatetags.ui_figures import chart, identicon_svg, slices


def render(source: str, path: str = "/", **context: object) -> str:
    request = RequestFactory().get(path)
    return Template("{% load ui %}" + source).render(Context({"request": request, **context}))


def test_an_amount_is_cut_and_keeps_every_wei_in_its_title():
    html = render("{% open_amount wei %}", wei=1_239_999_999_999_999_999)
    assert 'value="1239999999999999999" title="1,239,999,999,999,999,999 wei">1.2399<' in html


def test_an_amount_that_came_in_shows_its_sign_when_asked():
    assert ">+0.5<" in render("{% open_amount wei sign=True %}", wei=5 * 10**17)


def test_an_amount_that_went_out_has_a_minus_as_wide_as_a_plus():
    assert ">\N{MINUS SIGN}0.5<" in render("{% open_amount wei sign=True %}", wei=-5 * 10**17)


def test_amounts_in_a_column_keep_their_last_zeros():
    html = render("{% open_amount wei digits=6 aligned=True %}", wei=282 * 10**12)
    assert ">0.000282<" in html
    html = render("{% open_amount wei digits=6 aligned=True %}", wei=5 * 10**17)
    assert ">0.500000<" in html


def test_an_unknown_amount_is_a_dash_and_not_zero():
    assert "—" in render("{% open_amount wei %}", wei=None)


def test_a_label_from_a_user_is_escaped_in_every_part():
    evil = "<script>alert(1)</script>"
    html = render(
        "{% pill x %}{% chip x %}{% stat x x %}{% breadcrumbs x x %}{% share_bar shares %}"
        "{% card title=x %}{{ x }}{% endcard %}{% page_header title=x %}{% endpage_header %}",
        x=evil,
        shares=[{"label": evil, "value": 1}],
    )
    assert "<script" not in html


def test_a_block_keeps_the_markup_of_its_page():
    assert "<b>kept</b>" in render("{% notice %}<b>kept</b>{% endnotice %}")


def test_no_state_has_two_tones():
    words = [word for words in STATES_BY_TONE.values() for word in words.split()]
    assert len(words) == len(set(words)) == len(TONE_BY_STATE)


def test_a_long_identifier_is_shortened_but_copied_whole():
    address = "0x" + "ab" * 20
    html = render("{% chip address kind='address' %}", address=address)
    assert "0xababab…abab" in html
    assert f'data-copy="{address}"' in html


def test_the_current_section_is_marked_in_the_navigation():
    assert 'aria-current="page"' in render("{% nav_link 'home' 'Home' %}", path="/")
    assert "aria-current" not in render("{% nav_link 'account_login' 'Sign in' %}", path="/")


def test_a_link_deeper_into_a_section_is_marked_anywhere_in_it():
    link = "{% nav_link 'rewards:explorer' 'Rewards' section='rewards:overview' %}"
    assert 'aria-current="page"' in render(link, path="/rewards/governance/")


def test_a_section_that_does_not_exist_is_left_out():
    assert render("{% nav_link 'nowhere:list' 'Nowhere' %}") == ""


def test_an_identicon_depends_on_nothing_but_its_seed():
    assert identicon_svg("0xAB", 24) == identicon_svg("0xab", 24)
    assert identicon_svg("0xab", 24) != identicon_svg("0xac", 24)


def test_shares_of_a_bar_fill_it_exactly():
    parts = slices([{"label": "a", "value": 10**30}, {"label": "b", "value": 2 * 10**30}])
    assert [part.percent for part in parts] == ["33.3", "66.7"]
    assert float(parts[1].start) + float(parts[1].width) == pytest.approx(100)


def test_a_bar_of_nothing_divides_by_nothing():
    assert [part.width for part in slices([{"label": "a", "value": 0}])] == ["0.000"]


def test_a_curve_touches_both_edges_of_its_box():
    drawn = chart([{"name": "loss", "points": [(0, 3.0), (10, 1.0)]}])
    assert drawn is not None
    assert drawn.lines[0].path == "M0.0 0.0 L600.0 200.0"
    assert (drawn.low, drawn.high, drawn.lines[0].last) == ("1", "3", "1")


@pytest.mark.parametrize("series", [[], [{"name": "loss", "points": []}]])
def test_a_curve_without_points_says_when_it_will_come(series):
    assert "appears with the first figures" in render("{% line_chart series %}", series=series)


def test_a_curve_that_is_flat_or_not_a_number_is_still_drawn():
    drawn = chart([{"name": "loss", "points": [(0, 2.0), (1, float("nan")), (2, 2.0)]}])
    assert drawn is not None
    assert "nan" not in drawn.lines[0].path


def test_progress_without_a_value_claims_no_percentage():
    html = render("{% progress None 100 'Waiting' %}")
    assert not re.search(r"<progress[^>]*value=", html)


def test_progress_in_thousandths_reads_as_a_percentage():
    assert "42 %" in render("{% progress 429 1000 'Training' %}")


def test_the_stepper_names_its_current_step():
    html = render("{% stepper 2 'Data' 'Base' %}")
    assert 'aria-label="Step 2 of 2"' in html
    assert html.index("is-done") < html.index('aria-current="step"')


def test_headings_of_other_packages_are_written_as_ours():
    words = "{% filter sentence_case %}\n  Two-Factor Authentication\n{% endfilter %}"
    assert render(words) == "Two-factor authentication"
