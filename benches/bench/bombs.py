"""Documents that are small, and cost whoever parses them much."""

import io
import os
import zipfile
import zlib

# Copies of each: a sync of them lasts longer than a measurement.
COPIES = {"bombs": 2_000, "pdfs": 60}


def archive(*entries):
    """A zip archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as writer:
        for name, content in entries:
            writer.writestr(name, content)
    return packed.getvalue()


def pdf(objects):
    """A PDF of these objects, the first of which is its catalogue."""
    out, places = b"%PDF-1.5\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    end = b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(out))
    return out + head + table + end


def pages(count, operators, times):
    """Many pages, each of which expands to these operators."""
    packed = zlib.compress(operators * times, 1)
    contents = b"<</Length %d/Filter/FlateDecode>>stream\n" % len(packed) + packed + b"\nendstream"
    kids = b" ".join(b"%d 0 R" % (page + 4) for page in range(count))
    tree = b"<</Type/Pages/Count %d/Kids[%s]>>" % (count, kids)
    page = b"<</Type/Page/Parent 2 0 R/Contents 3 0 R/Resources<<>>>>"
    return pdf([b"<</Type/Catalog/Pages 2 0 R>>", tree, contents] + [page] * count)


def documents(kind):
    """Name and content of each."""
    if kind == "bombs":
        spaces = b" " * (64 << 20)
        shared = archive(("xl/workbook.xml", b"<a/>"), ("xl/sharedStrings.xml", spaces))
        return {"docx": archive(("word/document.xml", spaces)), "xlsx": shared}
    circle = pdf([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 1/Kids[2 0 R 2 0 R]>>"])
    cut = pages(4, b"q Q ", 1_000)[:-600]
    return {"endless.pdf": pages(2_000, b"q Q 0 0 m 1 1 l S ", 200_000), "circle.pdf": circle, "cut.pdf": cut}


def write(folder, kind):
    """Writes them, each many times, into a new folder."""
    os.mkdir(folder)
    for name, content in documents(kind).items():
        first = os.path.join(folder, f"0.{name}")
        with open(first, "wb") as file:
            file.write(content)
        for number in range(1, COPIES[kind]):
            # Not a link: some readers take the same file once only.
            with open(os.path.join(folder, f"{number}.{name}"), "wb") as file:
                file.write(content)
