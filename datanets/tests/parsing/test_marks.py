"""A file that says of itself that AI must not be trained on it is refused, and says why."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datanets.tests.parsing import documents
from datanets.tests.parsing.conftest import Parse, refused
from datanets.tests.parsing.hostile_files import zip_of

ROW = {"question": "What is it?", "answer": "This."}
# An assertion as CBOR: {"entries": {"cawg.ai_generative_training": {"use": "notAllowed"}}}.
CBOR = b"\xa1\x67entries\xa1\x78\x1bcawg.ai_generative_training\xa1\x63use\x6anotAllowed"
ALLOWED = CBOR.replace(b"\x6anotAllowed", b"\x67allowed")
INFERENCE = CBOR.replace(b"generative_training", b"inference")
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description {}/></rdf:RDF></x:xmpmeta>'


def pdf(*, catalogue: str = "", extra: bytes = b"", trailer: str = "") -> bytes:
    """One page of text, and object 5 for what the document says of itself."""
    objects = [
        f"<</Type/Catalog/Pages 2 0 R{catalogue}>>".encode(),
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F"
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>>>>>>>",
        documents._stream(b"BT /F 11 Tf 50 780 Td (One sentence.) Tj ET", compress=False),
        documents._stream(extra, compress=True),
    ]
    return documents.assembled(objects, trailer)


def pdf_with_xmp(said: str) -> bytes:
    return pdf(catalogue="/Metadata 5 0 R", extra=XMP.format(said).encode())


def pdf_with_manifest(manifest: bytes) -> bytes:
    named = "/AF[<</AFRelationship/C2PA_Manifest/EF<</F 5 0 R>>>>]"
    return pdf(catalogue=named, extra=manifest)


def docx(name: str, content: bytes) -> bytes:
    types = b'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>'
    text = f'<w:document xmlns:w="{documents.WORD}"><w:p><w:r><w:t>One.</w:t></w:r></w:p>'
    parts = {"[Content_Types].xml": types, "word/document.xml": f"{text}</w:document>".encode()}
    return zip_of({**parts, name: content})


def jsonl(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def custom(value: str) -> bytes:
    named = f'<property pid="2" name="tdm-reservation"><vt:i4>{value}</vt:i4></property>'
    return f"<Properties>{named}</Properties>".encode()


def parquet(metadata: dict[bytes, bytes] | None = None, **columns: list[object]) -> bytes:
    table = pa.table({**{name: [text] for name, text in ROW.items()}, **columns})
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), file)
    return file.getvalue()


ASSERTION = {"entries": {"c2pa.ai_training": {"use": "constrained"}}}
FORBIDDEN = {
    "tdm in xmp": ("a.pdf", pdf_with_xmp('tdm:reservation="1"'), "XMP"),
    "plus in xmp": ("a.pdf", pdf_with_xmp('plus:DataMining="x/DMI-PROHIBITED-GENAIMLTRAINING"'),
                    "DMI-PROHIBITED-GENAIMLTRAINING"),
    "c2pa in pdf": ("a.pdf", pdf_with_manifest(CBOR), "content credentials"),
    "pdf information": ("a.pdf", pdf(trailer="/Info<</tdm-reservation(1)>>"), "information"),
    "word property": ("a.docx", docx("docProps/custom.xml", custom("1")), "custom.xml"),
    "c2pa in word": ("a.docx", docx("META-INF/content_credential.c2pa", CBOR), "notAllowed"),
    "c2pa in zip": ("a.zip", zip_of({"a.jsonl": jsonl(ROW), "a.c2pa": CBOR}), "C2PA manifest"),
    "tdmrep in zip": ("a.zip", zip_of({"a.jsonl": jsonl(ROW), "tdmrep.json": json.dumps(
        [{"location": "/", "tdm-reservation": 1}]).encode()}), "tdmrep.json"),
    "head of markdown": ("a.md", b"---\ntdm-reservation: 1\n---\n\nA text.\n", "head of the text"),
    "field of a row": ("a.jsonl", jsonl(ROW, {**ROW, "tdm-reservation": 1}), "row 2"),
    "column": ("a.csv", b"question,answer,tdm-reservation\nWhy?,So.,1\n", "row 1"),
    "parquet column": ("a.parquet", parquet(**{"tdm-reservation": [1]}), "row 1"),
    "parquet schema": ("a.parquet", parquet({b"tdm-reservation": b"1"}), "metadata of its schema"),
    "assertion in a parquet schema": ("a.parquet", parquet({b"c2pa.training-mining":
        json.dumps(ASSERTION).encode()}), "c2pa.ai_training is constrained"),
    "assertion": ("a.jsonl", jsonl({**ROW, "c2pa.training-mining": ASSERTION}), "constrained"),
    "manifest": ("a.jsonl", jsonl({**ROW, "assertions": [{"label": "cawg.training-mining",
        "data": {"entries": {"cawg.data_mining": {"use": "notAllowed"}}}}]}), "cawg.data_mining"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORBIDDEN)
def test_a_mark_against_training_is_refused_by_name(parse: Parse, case: str) -> None:
    name, content, words = FORBIDDEN[case]
    result = parse(name, content)
    refused(result, 422, "training_not_allowed")
    said = f"{result.rejection.message} {result.rejection.where}"
    assert words in said
    assert "Ask whoever holds the rights" in result.rejection.remedy


ALLOWING = {
    "xmp": ("a.pdf", pdf_with_xmp('tdm:reservation="0"')),
    "c2pa": ("a.pdf", pdf_with_manifest(ALLOWED)),
    "only inference": ("a.pdf", pdf_with_manifest(INFERENCE)),
    "word": ("a.docx", docx("docProps/custom.xml", custom("0"))),
    "zip": ("a.zip", zip_of({"a.jsonl": jsonl(ROW), "a.c2pa": ALLOWED})),
    "markdown": ("a.md", b"---\ntdm-reservation: 0\n---\n\nA text.\n"),
    "column": ("a.csv", b"question,answer,tdm-reservation\nWhy?,So.,0\n"),
    "parquet": ("a.parquet", parquet({b"tdm-reservation": b"0"}, **{"tdm-reservation": [0]})),
    "its text": ("a.jsonl", jsonl({**ROW, "answer": 'tdm-reservation: 1 and "notAllowed"'})),
    "broken xmp": ("a.pdf", pdf(catalogue="/Metadata 99 0 R")),
}  # fmt: skip


@pytest.mark.parametrize("case", ALLOWING)
def test_what_allows_it_or_only_writes_about_it_is_read(parse: Parse, case: str) -> None:
    assert parse(*ALLOWING[case]).status == "accepted"
