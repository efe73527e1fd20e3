"""Match the COCO documents of a drop with its images."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from storage.objects import ObjectStore
from tasks.drop_documents import MAIN_DOCUMENT as MAIN_DOCUMENT
from tasks.drop_documents import MaskNames, documents_of, results_beside
from tasks.drop_files import refused_files, unused_files
from tasks.drop_images import DropImages, StoredImage, is_image
from tasks.drop_names import FileNames
from tasks.seal_drops import DropFile, SealedDrop
from tasks.sealed_files import first_bytes, read_sealed
from vision.coco import CheckedDocument, CocoAnnotation, Finding, check_document, make_finding
from vision.coco.identifiers import CocoId
from vision.coco.mask_files import MAX_FILE_BYTES, MaskFileError, ReadFile
from vision.coco.results import check_results, is_list


@dataclass(frozen=True)
class MatchedImage:
    """An image of the drop with what a COCO document says of it, if one does."""

    stored: StoredImage
    file_name: str
    source_id: str | None
    split: str | None


@dataclass
class DropContent:
    """What a drop holds: its documents matched with its images.

    Attributes:
        images: One entry for each good image, by key.
        annotations: The good annotations with their image.
        findings: Everything that is wrong.
        notes: What was repaired or is unusual.
        bad_images: Keys or pointers of the bad images.
        rejected: Whether a document is so broken that the whole drop is refused.
    """

    images: dict[str, MatchedImage] = field(default_factory=dict)
    annotations: list[tuple[MatchedImage, CocoAnnotation]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    bad_images: set[str] = field(default_factory=set)
    rejected: bool = False

    @property
    def bad_fraction(self) -> float:
        """The larger of the shares of bad images and of bad annotations; 1 if all is refused."""
        if self.rejected:
            return 1.0
        bad = sum(finding.verdict == "annotation" for finding in self.findings)
        of_images = len(self.bad_images) / max(1, len(self.bad_images) + len(self.images))
        return max(of_images, bad / max(1, bad + len(self.annotations)))


def match_documents(
    source: ObjectStore, drop: SealedDrop, images: DropImages, *, max_bytes: int
) -> DropContent:
    """Check the documents of a drop and match them with its images.

    Args:
        source: The store the drop lies in.
        drop: The sealed drop.
        images: Its images, decoded.
        max_bytes: Largest size of a document.
    """
    if refused := refused_files(drop):
        return DropContent(findings=refused, rejected=True)
    names = FileNames(
        (f.key for f in drop.files if is_image(f.key) and f.key not in images.masks),
        drop.place.folder,
    )
    sizes = {
        name: (images.stored[key].width_px, images.stored[key].height_px)
        for name, key in names.names().items()
        if key in images.stored
    }
    mask_names = MaskNames(drop)
    content = DropContent(findings=list(images.bad.values()), bad_images=set(images.bad))
    matched: list[tuple[CheckedDocument, dict[CocoId, MatchedImage]]] = []
    listed: list[DropFile] = []
    beside = results_beside(drop)
    for file in [*documents_of(drop), *beside]:
        relative = drop.relative(file.key)
        if file.size_bytes > max_bytes:
            if file in beside and not is_list(first_bytes(source, file)):
                continue
            value = f"{file.size_bytes} of {max_bytes} bytes"
            content.findings.append(make_finding(relative, "", "json.too_large", value))
            return DropContent(findings=content.findings, rejected=True)
        data = read_sealed(source, file)
        if is_list(data):
            listed.append(file)
            continue
        if file in beside:
            continue
        local = "://" not in drop.place.root
        document = check_document(
            data,
            relative,
            max_bytes,
            sizes=sizes,
            local=local,
            read_file=_mask_reader(source, mask_names, file),
        )
        content.findings += [f for f in document.findings if f.verdict != "note"]
        content.notes += [f for f in document.findings if f.verdict == "note"]
        if document.rejected:
            return DropContent(findings=content.findings, rejected=True)
        content.bad_images |= _refused_images(document, relative, names)
        by_id = _match_images(content, document, relative, images, names)
        _match_annotations(content, document, relative, by_id)
        matched.append((document, by_id))
    for file in listed:
        # After all others: results are of images and categories that those have.
        relative = drop.relative(file.key)
        references = [document for document, _ in matched]
        found, reference = check_results(read_sealed(source, file), relative, references, max_bytes)
        if file in beside and [f.rule for f in found.findings] == ["document.type"]:
            continue  # the results of something else
        content.findings += [f for f in found.findings if f.verdict != "note"]
        content.notes += [f for f in found.findings if f.verdict == "note"]
        if found.rejected:
            return DropContent(findings=content.findings, rejected=True)
        by_id = next(by_id for document, by_id in matched if document is reference)
        _match_annotations(content, found, relative, by_id)
    content.notes += unused_files(drop, {*images.stored, *images.bad, *images.masks})
    content.notes += _turned(drop, images)
    for key, stored in images.stored.items():
        if key not in content.images and key not in content.bad_images:
            content.images[key] = MatchedImage(stored, drop.relative(key), None, None)
    return content


def _mask_reader(source: ObjectStore, names: MaskNames, document: DropFile) -> ReadFile:
    def read(name: str) -> bytes:
        file = names.find(document, name)
        if file is None or file.refused:
            raise MaskFileError("mask_file.missing", name)
        if file.size_bytes > MAX_FILE_BYTES:
            raise MaskFileError("mask_file.too_large", f"{file.size_bytes} bytes")
        return read_sealed(source, file)

    return read


def _turned(drop: SealedDrop, images: DropImages) -> list[Finding]:
    turned = [stored for stored in images.stored.values() if stored.exif_orientation != 1]
    if not turned:
        return []
    name, orientation = drop.relative(turned[0].key), turned[0].exif_orientation
    others = f" (and {len(turned) - 1} more)" if len(turned) > 1 else ""
    return [make_finding(name, "", "image.turned", f"orientation {orientation}{others}")]


def _refused_images(document: CheckedDocument, relative: str, names: FileNames) -> set[str]:
    """Keys of the images whose entry is wrong; file and pointer where an entry names none."""
    return {
        (name and names.find(name)) or f"{relative}#{pointer}"
        for pointer, name in document.refused_names.items()
    }


def _match_images(
    content: DropContent,
    document: CheckedDocument,
    relative: str,
    images: DropImages,
    names: FileNames,
) -> dict[CocoId, MatchedImage]:
    by_id: dict[CocoId, MatchedImage] = {}
    for coco in document.images:
        key = names.find(coco.file_name)
        if key in images.stored:
            image = MatchedImage(images.stored[key], coco.file_name, str(coco.id), coco.split)
            by_id[coco.id] = content.images[key] = image
        elif key is None:
            content.bad_images.add(f"{relative}#{coco.pointer}")
            content.findings.append(
                make_finding(relative, coco.pointer, "image.missing", coco.file_name)
            )
    return by_id


def _match_annotations(
    content: DropContent,
    document: CheckedDocument,
    relative: str,
    by_id: Mapping[CocoId, MatchedImage],
) -> None:
    for annotation in document.annotations:
        if annotation.image_id in by_id:
            content.annotations.append((by_id[annotation.image_id], annotation))
        else:
            content.findings.append(
                make_finding(
                    relative,
                    annotation.pointer,
                    "annotation.image_quarantined",
                    annotation.image_id,
                )
            )
