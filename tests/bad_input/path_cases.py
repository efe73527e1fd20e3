"""Cases 79 to 101 and 139 to 140: names, links, archives and labels inside a drop."""

import io
import tarfile
import zipfile

from tests.bad_input.bad_drop import case


def rename(name):
    return lambda drop: drop.rename(name)


case(79, "reject", "path.parent")(rename("../images/p2.png"))
case(80, "reject", "path.absolute")(rename("/etc/passwd"))
case(81, "reject", "path.backslash")(rename("..\\p2.png"))
case(82, "reject", "path.drive")(rename("C:p2.png"))
case(83, "reject", "json.nul")(rename("images/p2.png\0.txt"))
case(84, "reject", "path.too_long")(rename("p" * 1025))
case(85, "reject", "path.encoded_parent")(rename("%2e%2e/p2.png"))
case(88, "reject", "path.control_character")(rename("images/p\u202e2.png"))
case(89, "reject", "path.trailing")(rename("images/p2.png "))
case(91, "reject", "path.url")(rename("http://169.254.169.254/p2.png"))


@case(86, "reject", "path.same_when_normalised")
def two_spellings_of_one_name(drop):
    drop.document["images"][0]["file_name"] = "caf\u00e9.png"
    drop.rename("cafe\u0301.png")


@case(87, "fix", "path.same_when_lowercased")
def names_that_differ_in_case_only(drop):
    drop.picture.rename(drop.folder / "images/P1.png")
    drop.rename("images/P1.png")


@case(90, "reject", "drop.unsafe_name")
def a_link_out_of_the_drop(drop):
    drop.picture.unlink()
    drop.picture.symlink_to("/etc/passwd")


# An archive is never unpacked, so nothing inside it can do harm: the drop says so, and is refused.
def zipped(*members, change=lambda data: data, suffix="zip"):
    def spoil(drop):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)
        (drop.folder / f"more.{suffix}").write_bytes(change(buffer.getvalue()))

    return spoil


case(92, "reject", "drop.archive")(zipped(("../../evil.png", b"x")))
case(93, "reject", "drop.archive")(zipped(("/etc/evil.png", b"x")))
case(95, "reject", "drop.archive")(zipped(("bomb.png", b"\0" * 10_000_000)))
case(96, "reject", "drop.archive")(zipped(("inner.zip", b"PK\x03\x04")))
case(98, "reject", "drop.archive")(
    zipped(("a.png", b"x"), change=lambda data: data[:6] + b"\x01" + data[7:])
)
case(99, "reject", "drop.archive")(zipped(("a.png", b"x" * 99), change=lambda data: data * 2))
case(100, "reject", "drop.archive")(zipped(("a.png", b"x" * 99), change=lambda data: data[:40]))
case(101, "reject", "drop.archive")(zipped(*((f"{i}.png", b"x") for i in range(2_000))))


@case(94, "reject", "drop.archive")
def links_in_a_tar_file(drop):
    with tarfile.open(drop.folder / "more.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("link.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)


@case(97, "reject", "drop.archive")
def one_member_twice_in_an_archive_without_its_suffix(drop):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for content in (b"a", b"b"):
            member = tarfile.TarInfo("a.png")
            member.size = 1
            archive.addfile(member, io.BytesIO(content))
    (drop.folder / "pages.cbt.xz").write_bytes(buffer.getvalue())


@case(139, "reject", "category.name")
def a_label_of_ten_kilobytes(drop):
    drop.document["categories"][0]["name"] = "x" * 10_000


@case(140, "reject", "category.name")
def an_empty_label(drop):
    drop.document["categories"][0]["name"] = " "


@case(138, "fix", "category.hidden_characters")
def a_label_with_hidden_characters(drop):
    drop.document["categories"][0]["name"] = "b\u200box\u202e"
