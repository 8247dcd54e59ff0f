"""PDF and Word: their text as rows, and what is wrong with those that give none."""

from __future__ import annotations

import pytest

from datanets.tests.parsing import documents
from datanets.tests.parsing.conftest import Parse, refused
from datanets.tests.parsing.hostile_files import zip_of

SENTENCE = "A mapping key was not found in the dictionary. "


def texts(result) -> list[str]:
    assert result.status == "accepted", result.rejection
    return [row.text for row in result.rows()]


@pytest.mark.parametrize("compress", [False, True])
def test_the_text_of_a_pdf_becomes_rows_page_by_page(parse: Parse, compress: bool) -> None:
    pages = ["KeyError (a mapping\nkey was not found).", "EOFError: read beyond the end."]
    result = parse("a.pdf", documents.pdf_of(pages, compress=compress))
    assert texts(result) == pages
    assert (result.format, result.format_found_by) == ("pdf", "both")


def test_the_paragraphs_of_a_word_document_become_rows(parse: Parse) -> None:
    paragraphs = ["KeyError & others", "  ", "EOFError: “read” beyond <the end>."]
    result = parse("a.docx", documents.docx_of(paragraphs))
    assert texts(result) == [paragraphs[0], paragraphs[2]]
    assert result.format == "docx"


def test_a_word_document_is_known_by_its_content(parse: Parse) -> None:
    assert texts(parse("a.zip", documents.docx_of(["One"], part="word/document2.xml"))) == ["One"]


def test_deleted_text_and_field_codes_are_no_text(parse: Parse) -> None:
    runs = "<w:t>kept</w:t><w:tab/><w:t>too</w:t><w:delText>gone</w:delText>"
    xml = f'<w:document xmlns:w="{documents.WORD}"><w:p>{runs}<w:instrText>PAGE</w:instrText></w:p></w:document>'  # noqa: E501
    assert texts(parse("a.docx", documents.docx_with(xml))) == ["kept\ttoo"]


@pytest.mark.parametrize("name", ["a.pdf", "a.docx"])
def test_a_long_paragraph_is_cut_where_a_sentence_ends(parse: Parse, name: str) -> None:
    text = (SENTENCE * 100).strip()
    content = documents.pdf_of([text]) if name == "a.pdf" else documents.docx_of([text])
    found = texts(parse(name, content))
    assert len(found) == 3
    assert all(len(piece) <= 2_000 and piece.endswith(".") for piece in found)


def test_documents_in_a_zip_are_read_with_the_others(parse: Parse) -> None:
    files = {
        "a.pdf": documents.pdf_of(["From a PDF"]),
        "b.docx": documents.docx_of(["From Word"]),
        "c.txt": b"From a text",
    }
    result = parse("all.zip", zip_of(files))
    assert texts(result) == ["From a PDF", "From Word", "From a text"]
    assert [row.entry for row in result.rows()] == list(files)


def test_a_pdf_of_pictures_says_what_is_missing(parse: Parse) -> None:
    result = parse("scan.pdf", documents.pdf_of(["", ""]))
    refused(result, 422, "no_text", "the pages")
    assert "OCR" in result.rejection.remedy


def test_a_pdf_with_a_password_is_refused(parse: Parse) -> None:
    refused(parse("a.pdf", documents.pdf_with_password()), 422, "encrypted_pdf")


def test_a_pdf_that_was_cut_short_is_refused(parse: Parse) -> None:
    refused(parse("a.pdf", documents.pdf_of(["One"])[:60]), 422, "broken_pdf", "its directory")


def test_a_pdf_whose_pages_go_in_circles_is_refused(parse: Parse) -> None:
    result = parse("a.pdf", documents.pdf_of_circles())
    assert result.rejection.status in (413, 422)


def test_a_pdf_that_unfolds_is_stopped(parse: Parse) -> None:
    result = parse("a.pdf", documents.pdf_with_bomb(400 << 20), cpu_seconds=20)
    assert result.rejection.status in (413, 422)


def test_a_pdf_with_too_many_pages_is_refused(parse: Parse) -> None:
    result = parse("a.pdf", documents.pdf_of(["One"] * 12), pdf_pages=11)
    refused(result, 413, "too_many_pages", "the pages")


ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("doctype", [ENTITIES, OUTSIDE])
def test_a_word_document_names_no_entity(parse: Parse, doctype: str) -> None:
    result = parse("a.docx", documents.docx_of(["&a;"], before=doctype))
    refused(result, 422, "broken_document")
    assert "document type" in result.rejection.message


@pytest.mark.parametrize(
    "xml",
    [
        "<w:document>",
        "<w:p xmlns:w='x'>" * 300 + "</w:p>" * 300,
        f"<a b='{'c' * 1_500_000}'/>",
        "not xml at all",
    ],
)
def test_a_word_document_with_broken_xml_is_refused(parse: Parse, xml: str) -> None:
    refused(parse("a.docx", documents.docx_with(xml), archive_ratio=10**6), 422, "broken_document")


def test_a_word_document_that_unfolds_is_stopped(parse: Parse) -> None:
    result = parse("a.docx", documents.docx_of(["a" * 1_000_000] * 40))
    refused(result, 413, "ratio_too_high", "word/document.xml")


@pytest.mark.parametrize("name", ["a.xlsx", "a.zip", "a.docx"])
def test_other_office_documents_are_named(parse: Parse, name: str) -> None:
    sheet = zip_of({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"})
    refused(parse(name, sheet), 415, "type_not_read")
