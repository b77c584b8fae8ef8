"""Image files: what is an image by its content, what is seen of it, and in which words the rest is refused."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from dpsynth.data import catalog, imagefiles

WHITE = (255, 255, 255)
BLUE = (10, 20, 200)
HIDDEN = [(0, 0, 0), (255, 128, 0), (255, 255, 255)]  # three colours under transparency, none of which may be seen


@pytest.fixture(autouse=True)
def _own_root(tmp_path_factory, monkeypatch):
    """Nothing is decoded into the project's own folders."""
    monkeypatch.setenv("DPSYNTH_ROOT", str(tmp_path_factory.mktemp("root")))


def save(path, colour=0, shape=(12, 12), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, shape, colour).save(path, format="PNG")
    return path


def read(file, size=12, background=BLUE):
    return imagefiles.read(file, size, background)


def refusal(files, size=8):
    with pytest.raises(ValueError) as error:
        imagefiles.refuse_others(files)
        list(imagefiles.read_all(files, size, WHITE))
    assert str(error.value).isprintable()
    return str(error.value)


# Transparency


def png(path, mode, bits, rows, transparent=b"", shape=(12, 12)):
    """A PNG of any kind, as other programs write them; `rows` are packed bytes."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *shape, bits, mode, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + head + (transparent and chunk(b"tRNS", transparent)) + body + chunk(b"IEND", b"")
    )
    return path


def rgba(hidden):
    """A grey disc on nothing, with an edge half transparent; under nothing lies `hidden`."""
    y, x = np.mgrid[:12, :12] - 5.5
    pixels = np.zeros((12, 12, 4), np.uint8)
    pixels[...] = (*hidden, 0)
    pixels[x**2 + y**2 < 30] = (100, 100, 100, 128)
    pixels[x**2 + y**2 < 16] = (100, 100, 100, 255)
    return Image.fromarray(pixels)


def grey_with_alpha(hidden):
    return Image.merge("LA", rgba((hidden[0],) * 3).split()[2:])


def palette_with_alphas(hidden, path):
    image = Image.fromarray(np.asarray(rgba(hidden))[..., 3] // 127)  # 0, 1, 2: nothing, edge, disc
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([*hidden, 100, 100, 100, 100, 100, 100])
    image.save(path, transparency=bytes([0, 128, 255]))
    return path


def files_with_alpha(folder, hidden):
    """The same picture in every mode that keeps an edge half transparent."""
    folder.mkdir(exist_ok=True)
    for kind in ("png", "webp", "tiff", "tga", "ico"):
        file = folder / f"rgba.{kind}"
        rgba(hidden).save(file, **({"lossless": True, "exact": True} if kind == "webp" else {}))
        yield file
    grey_with_alpha(hidden).save(folder / "la.png")
    yield folder / "la.png"
    yield palette_with_alphas(hidden, folder / "palette.png")


@pytest.mark.parametrize("background", [WHITE, BLUE])
def test_what_lies_under_transparency_is_never_seen(tmp_path, background):
    expected = np.asarray(rgba((0, 0, 0))).astype(float)
    share = expected[..., 3:] / 255
    expected = expected[..., :3] * share + np.array(background) * (1 - share)
    for hidden in HIDDEN:
        for file in files_with_alpha(tmp_path / "a", hidden):
            seen = read(file, 12, background).astype(float)
            assert np.abs(seen - expected).max() <= 1, file  # the edge is blended


@pytest.mark.parametrize("name", ["hidden_black.png", "hidden_orange.png"])
def test_pictures_that_look_alike_are_read_alike(tmp_path, name):
    """A grey disc of radius 10 in 32 by 32, on black or on orange that nobody sees."""
    y, x = np.mgrid[:32, :32] - 15.5
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[...] = (0, 0, 0, 0) if "black" in name else (255, 128, 0, 0)
    pixels[x**2 + y**2 < 100] = (128, 128, 128, 255)
    Image.fromarray(pixels).save(tmp_path / name)
    seen = read(tmp_path / name, 32, WHITE)
    assert seen[0, 0].tolist() == [255, 255, 255] and seen[16, 16].tolist() == [128, 128, 128]
    assert set(np.unique(seen)) == {128, 255}
    small = read(tmp_path / name, 8, WHITE)  # resized after it is composited: no dark or orange rim
    assert small.min() >= 120 and (small == small[..., :1]).all()


def test_one_colour_may_be_transparent(tmp_path):
    """tRNS of grey, RGB and bilevel PNGs, of every depth: half of the picture is nothing."""
    for bits, hidden in ((1, 1), (1, 0), (2, 2), (2, 1), (4, 9), (8, 77), (8, 0)):
        other = 2**bits - 1 - hidden
        row = int("".join(f"{v:0{bits}b}" for v in [hidden] * 6 + [other] * 6).ljust(-(-12 * bits // 8) * 8, "0"), 2)
        packed = [row.to_bytes(-(-12 * bits // 8), "big")] * 12
        seen = read(png(tmp_path / "grey.png", 0, bits, packed, transparent=struct.pack(">H", hidden)))
        assert (seen[:, :6] == BLUE).all(), (bits, hidden)
        assert (seen[:, 6:] == other * 255 // (2**bits - 1)).all(), (bits, hidden)
    rows = [bytes([9, 8, 7] * 6 + [70, 80, 90] * 6)] * 12
    seen = read(png(tmp_path / "rgb.png", 2, 8, rows, transparent=struct.pack(">HHH", 9, 8, 7)))
    assert (seen[:, :6] == BLUE).all() and (seen[:, 6:] == (70, 80, 90)).all()
    for entry, file in ((0, "gif.gif"), (1, "gif.gif"), (1, "palette.png")):
        picture = Image.new("P", (12, 12), entry)
        picture.paste(1 - entry, (6, 0, 12, 12))
        picture.putpalette([50, 60, 70, 150, 160, 170])
        picture.save(tmp_path / file, transparency=entry)
        seen = read(tmp_path / file)
        assert (seen[:, :6] == BLUE).all() and (seen[:, 6:] == [[150, 160, 170], [50, 60, 70]][entry]).all()


def test_opaque_pictures_have_no_background(tmp_path):
    assert (read(save(tmp_path / "grey.png", 77, mode="L")) == 77).all()
    assert (read(save(tmp_path / "colour.png", (1, 2, 3))) == (1, 2, 3)).all()
    assert (read(save(tmp_path / "solid.png", (1, 2, 3, 255), mode="RGBA")) == (1, 2, 3)).all()
    for black in (0, 1):
        assert (read(save(tmp_path / "bilevel.png", black, mode="1")) == 255 * black).all()


def test_more_than_8_bits_are_refused_not_clipped(tmp_path):
    grey = save(tmp_path / "scan.png", 40_000, mode="I;16")
    deep = png(tmp_path / "one.png", 0, 16, [b"\x12\x34" * 12] * 12, transparent=b"\x12\x34")
    colours = png(tmp_path / "two.png", 2, 16, [b"\x12\x34" * 36] * 12, transparent=b"\x12\x34" * 3)
    for file in (grey, deep, colours):
        with pytest.raises(ValueError, match=r"more than 8 bits a channel .*: convert it"):
            read(file)


@pytest.mark.parametrize(
    "name, values", [("white", WHITE), ("#0a14C8", BLUE), ("rgb(10, 20, 200)", BLUE), ("#fff", WHITE)]
)
def test_backgrounds(name, values):
    assert imagefiles.colour(name) == values


@pytest.mark.parametrize("name", ["", "whitish", "#ffff", "rgba(1,2,3,4)", "rgb(300, 0, 0)", "#12345", "x" * 200])
def test_backgrounds_that_are_none(tmp_path, name):
    save(tmp_path / "a.png")
    for read_set in (
        lambda: imagefiles.colour(name),
        lambda: catalog.public(f"folder:{tmp_path}", 3, 8, background=name),
        lambda: catalog.private(f"folder:{tmp_path}", n_records=1, labels=[], size=8, background=name),
    ):
        with pytest.raises(ValueError, match="to be a colour without alpha: white"):
            read_set()


# Photographs


def test_photographs_are_turned_upright(tmp_path):
    picture = Image.new("RGB", (12, 12))
    picture.paste(WHITE, (0, 0, 6, 12))  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # as stored, its left is its top
    for kind in ("png", "jpg"):
        picture.resize((768, 768)).save(tmp_path / f"a.{kind}", exif=exif)
        image = read(tmp_path / f"a.{kind}")
        assert (image[0] >= 254).all() and (image[-1] <= 1).all()


def test_a_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path, monkeypatch):
    draws = np.random.default_rng(0)
    picture = Image.fromarray(draws.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((1600, 1200))
    picture.save(tmp_path / "a.jpg", quality=95)
    drafted = read(tmp_path / "a.jpg", 32).astype(float)
    asked = []
    monkeypatch.setattr(JpegImageFile, "draft", lambda image, mode, size: asked.append(size))
    whole = read(tmp_path / "a.jpg", 32).astype(float)
    assert asked == [(64, 64)]
    assert 0 < np.abs(drafted - whole).mean() < 1 and np.abs(drafted - whole).max() < 12


def test_warnings_of_single_images_are_not_told(tmp_path, recwarn):
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x05"  # says five entries, and has none
    Image.new("RGB", (40, 40)).save(tmp_path / "b.jpg", exif=exif)
    recwarn.clear()
    list(imagefiles.read_all([tmp_path / "b.jpg"], 8, WHITE))
    assert not [str(w.message) for w in recwarn.list]
    ImageOps.exif_transpose(Image.open(tmp_path / "b.jpg"))
    assert recwarn.list  # it would have warned


# No images


OTHERS = {
    "labels.csv": b"file,label\n0.png,cat\n", "caption.txt": b"a cat: on a mat\n", "meta.json": b'{"a": 1}',
    "zip.png": b"PK\x03\x04" + bytes(60), "word.doc": b"\xd0\xcf\x11\xe0" + bytes(600),
    "film.mp4": b"\0\0\0\x20ftypisom" + bytes(60), "page.html": b"<!doctype html>", "paper.pdf": b"%PDF-1.7\n",
    "README": b"P. S.: read me\n", "model.pt": bytes(range(256)) * 9, "zeros.bmp": bytes(4000),
    "notes": "Größe: 3\n".encode("utf-16"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_image_is_told_apart_whatever_its_name(tmp_path, name):
    (tmp_path / name).write_bytes(OTHERS[name])
    broken = tmp_path / "broken.png"
    broken.write_bytes(save(tmp_path / "whole.png").read_bytes()[:45])
    said = refusal([tmp_path / "whole.png", broken, tmp_path / name])
    assert said == f"among the images are files that are none; move them away: {tmp_path / name}"


def test_no_image_is_named_before_the_count_is(tmp_path):
    for number in range(3):
        save(tmp_path / "set" / f"{number}.png")
    (tmp_path / "set" / "labels.csv").write_bytes(OTHERS["labels.csv"])
    for n_records in (3, 4):
        with pytest.raises(ValueError, match=r"move them away: .*labels.csv$"):
            catalog.private(f"folder:{tmp_path / 'set'}", n_records=n_records, labels=[], size=8)


@pytest.mark.parametrize(
    "kind", ["png", "jpg", "gif", "bmp", "tga", "tiff", "webp", "ppm", "ico", "avif", "pcx", "jp2"]
)
def test_images_are_images_whatever_their_name(tmp_path, kind):
    Image.new("RGB", (16, 16), (200, 30, 40)).save(tmp_path / f"a.{kind}")
    (tmp_path / f"a.{kind}").rename(tmp_path / "a.txt")
    imagefiles.refuse_others([tmp_path / "a.txt"])
    assert np.abs(read(tmp_path / "a.txt").astype(int) - (200, 30, 40)).max() < 12


def test_formats_without_a_mark_at_their_beginning_are_tried(tmp_path):
    Image.new("L", (16, 16), 77).save(tmp_path / "grey.tga")
    Image.new("F", (16, 16), 77).save(tmp_path / "spider.dat", format="SPIDER")
    imagefiles.refuse_others([tmp_path / "grey.tga", tmp_path / "spider.dat"])
    assert (read(tmp_path / "grey.tga") == 77).all()


# Broken images


@pytest.mark.parametrize(
    "name, content, why",
    [
        ("a.heic", b"\0\0\0\x18ftypheic" + bytes(90), "HEIC or AVIF: Pillow has no reader for it, convert it"),
        ("b.jpg", b"\0\0\0\x18ftypmif1" + bytes(90), "HEIC or AVIF: Pillow has no reader for it, convert it"),
        ("c.jxl", b"\xff\x0a" + bytes(90), "JPEG XL: Pillow has no reader for it, convert it"),
        ("d.h5", b"\x89HDF\r\n\x1a\n" + bytes(90), "cannot find loader"),
        ("e.png", b"\x89PNG\r\n\x1a\n", "damaged at its beginning"),
        ("f.gif", b"GIF89a", "damaged at its beginning"),
    ],
)
def test_why_an_image_cannot_be_read(tmp_path, name, content, why):
    (tmp_path / name).write_bytes(content)
    assert f"images that cannot be read; mend, convert or take them away: {tmp_path / name} ({why}" in refusal(
        [save(tmp_path / "whole.png"), tmp_path / name]
    )


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp", "tiff", "webp"])
def test_an_image_cut_short_is_named(tmp_path, kind):
    file = tmp_path / f"b.{kind}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert f"take them away: {file} (" in refusal([file])


def test_a_picture_of_too_many_pixels_is_told_with_the_limit(tmp_path):
    file = png(tmp_path / "panorama.png", 0, 8, [bytes(12)] * 12, shape=(16_000, 12_000))
    assert f"{file} (Image size (192000000 pixels) exceeds limit of 178956970 pixels" in refusal([file])


def test_a_file_that_may_not_be_read_is_told_so(tmp_path, as_nobody):
    file = save(tmp_path / "a.png")
    file.chmod(0)
    with as_nobody():
        assert f"{file} (Permission denied)" in refusal([file])


def test_all_broken_images_are_listed_ten_at_most(tmp_path):
    good = save(tmp_path / "good.png")
    files = [tmp_path / f"{number:02}.png" for number in range(13)]
    for file in files:
        file.write_bytes(good.read_bytes()[:45])
    said = refusal([good, *files])
    assert all(str(file) in said for file in files[:10]) and str(files[10]) not in said and said.endswith(" and 3 more")
    assert str(good) not in said
    for file in files:
        file.write_text("no image")
    assert refusal([good, *files]).endswith("09.png and 3 more")


@pytest.mark.parametrize("name", [b"a\nb\x1b[31m.png", b"\xff.png", "a\u202egnp.png".encode()])
@pytest.mark.parametrize("content", [b"no", b"\x89PNG\r\n\x1a\n"])
def test_names_do_not_break_the_sentence(tmp_path, name, content):
    file = tmp_path / os.fsdecode(name)
    file.write_bytes(content)
    assert refusal([file])  # looks at what is printable itself
    with pytest.raises(ValueError) as error:
        catalog.private(f"folder:{tmp_path}", n_records=1, labels=[], size=8)
    assert str(error.value).isprintable() and ".png" in str(error.value)


def test_an_empty_file_is_listed_with_the_broken_ones(tmp_path):
    """As what a download left: it and the truncated one are mended in one round."""
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(save(tmp_path / "whole.png").read_bytes()[:45])
    said = refusal([tmp_path / name for name in ("a.jpg", "b.png", "whole.png")])
    assert said.startswith("images that cannot be read; ") and "a.jpg (" in said and "b.png (" in said
