"""One image of whatever kind as RGB pixels of 8 bits, or an error that says why not."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from mscmreid.intake import PUBLISHED, Intake, UnreadableImageError, open_image
from mscmreid.intake.images import BEHIND

SIZE_HW = (24, 18)


def pixels(seed=0, channels=3):
    shape = SIZE_HW if channels == 1 else (*SIZE_HW, channels)
    return np.random.RandomState(seed).randint(0, 256, shape, dtype=np.uint8)


def png(array, colour_type):
    """A PNG of (H, W, C) uint16, which Pillow cannot write for more than one channel."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = array.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


class TestWhatComesIn:
    def test_paths_bytes_pillow_images_and_arrays_are_one(self, tmp_path):
        expected = pixels()
        Image.fromarray(expected).save(tmp_path / "a.png")
        content = (tmp_path / "a.png").read_bytes()
        for source in (str(tmp_path / "a.png"), tmp_path / "a.png", content, Image.fromarray(expected), expected):
            found = open_image(source)
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("shape", [SIZE_HW, (*SIZE_HW, 1)])
    def test_gray_becomes_three_equal_channels(self, shape):
        gray = pixels(channels=1)
        np.testing.assert_array_equal(open_image(gray.reshape(shape)), np.stack([gray] * 3, axis=2))

    def test_black_and_white_is_0_and_255(self):
        bits = pixels(channels=1) > 128
        found = open_image(Image.fromarray(bits))
        np.testing.assert_array_equal(found[:, :, 1], np.where(bits, 255, 0))

    def test_palettes_and_cmyk_are_converted(self, tmp_path):
        colour = np.full((*SIZE_HW, 3), (200, 40, 90), dtype=np.uint8)
        Image.fromarray(colour).convert("P").save(tmp_path / "p.png")
        Image.fromarray(colour).convert("CMYK").save(tmp_path / "c.tif")
        palette = Image.open(tmp_path / "p.png").convert("RGB")
        np.testing.assert_array_equal(open_image(tmp_path / "p.png"), np.asarray(palette))
        np.testing.assert_array_equal(open_image(tmp_path / "c.tif"), colour)

    @pytest.mark.parametrize(
        "array",
        [
            pixels().astype(np.int64),
            pixels(channels=3)[:, :, :2],
            np.zeros((0, 5), dtype=np.uint8),
            pixels().astype(np.float32),
            np.array([["a"]]),
        ],
    )
    def test_arrays_of_other_kinds_are_refused(self, array):
        with pytest.raises(UnreadableImageError, match=r"an array must be uint8 \(H, W\)"):
            open_image(array)


class TestTransparency:
    def test_transparent_pixels_are_laid_over_gray(self, tmp_path):
        rgba = np.dstack([pixels(), np.full(SIZE_HW, 255, dtype=np.uint8)])
        rgba[:4, :, 3] = 0
        rgba[4:8, :, 3] = 128
        Image.fromarray(rgba).save(tmp_path / "a.png")
        found = open_image(tmp_path / "a.png")
        assert (found[:4] == BEHIND).all()
        np.testing.assert_array_equal(found[8:], rgba[8:, :, :3])
        middle = rgba[4:8, :, :3].astype(float) * 128 / 255 + BEHIND * 127 / 255
        assert np.abs(found[4:8] - middle).max() <= 1

    def test_gray_with_alpha_and_a_transparent_palette_entry(self, tmp_path):
        image = Image.new("LA", SIZE_HW[::-1], (200, 0))
        image.putpixel((0, 0), (200, 255))
        image.save(tmp_path / "la.png")
        found = open_image(tmp_path / "la.png")
        assert found[0, 0].tolist() == [200] * 3 and found[1, 1].tolist() == [BEHIND] * 3
        image = Image.new("P", SIZE_HW[::-1], 1)
        image.putpalette([0, 0, 0, 10, 20, 30])
        image.putpixel((0, 0), 0)
        image.save(tmp_path / "p.png", transparency=0)
        found = open_image(tmp_path / "p.png")
        assert found[0, 0].tolist() == [BEHIND] * 3 and found[1, 1].tolist() == [10, 20, 30]

    def test_an_image_of_nothing_is_refused(self, tmp_path):
        Image.new("RGBA", SIZE_HW[::-1], (9, 9, 9, 0)).save(tmp_path / "a.png")
        with pytest.raises(UnreadableImageError, match="all of its pixels are transparent"):
            open_image(tmp_path / "a.png")


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
    def test_photos_are_turned_upright(self, tmp_path, orientation, suffix):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels()).resize((36, 48)).save(tmp_path / f"a{suffix}", exif=exif)
        with Image.open(tmp_path / f"a{suffix}") as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        assert expected.shape == ((36, 48, 3) if orientation > 4 else (48, 36, 3))
        np.testing.assert_array_equal(open_image(tmp_path / f"a{suffix}"), expected)

    def test_published_sets_are_read_as_they_are_stored(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels()).save(tmp_path / "a.png", exif=exif)
        np.testing.assert_array_equal(open_image(tmp_path / "a.png", PUBLISHED), pixels())
        assert open_image(tmp_path / "a.png").shape == (SIZE_HW[1], SIZE_HW[0], 3)

    def test_an_orientation_that_there_is_not_turns_nothing(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 9
        Image.fromarray(pixels()).save(tmp_path / "a.png", exif=exif)
        np.testing.assert_array_equal(open_image(tmp_path / "a.png"), pixels())


class TestDepth:
    @pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
    def test_deep_gray_frames_need_a_range(self, tmp_path, dtype):
        values = np.linspace(100, 500, 24 * 18).reshape(SIZE_HW).astype(dtype)
        path = tmp_path / ("a.png" if dtype == "uint16" else "a.tif")
        Image.fromarray(values).save(path)
        with pytest.raises(UnreadableImageError, match=r"more than 8 bits a channel.*--depth-range LOW HIGH"):
            open_image(path)
        found = open_image(path, Intake(depth_range=(150, 405)))
        expected = [[round(min(max((float(v) - 150) / 255, 0), 1) * 255) for v in row] for row in values]
        np.testing.assert_array_equal(found[:, :, 2], expected)
        np.testing.assert_array_equal(open_image(values, Intake(depth_range=(150, 405))), found)

    def test_percentiles_are_those_of_each_frame(self):
        values = np.arange(24 * 18, dtype=np.uint16).reshape(SIZE_HW)
        one = open_image(values, Intake(depth_range="percentiles:1,99"))
        assert (open_image(values * 3 + 50, Intake(depth_range="percentiles:1,99")) == one).all()
        assert one.min() == 0 and one.max() == 255 and (np.diff(one[:, :, 0].ravel().astype(int)) >= 0).all()

    @pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
    @pytest.mark.parametrize("depth_range", [None, (0, 65535)])
    def test_sixteen_bit_colour_is_never_cut_to_its_high_byte(self, tmp_path, colour_type, channels, depth_range):
        array = np.random.RandomState(0).randint(0, 65536, (*SIZE_HW, channels)).astype(np.uint16)
        (tmp_path / "a.png").write_bytes(png(array, colour_type))
        for intake in (Intake(depth_range=depth_range), PUBLISHED):
            with pytest.raises(UnreadableImageError, match="of 16 bits, more than 8 bits a channel; convert it"):
                open_image(tmp_path / "a.png", intake)

    def test_sixteen_bit_colour_tiff(self, tmp_path):
        cv2 = pytest.importorskip("cv2")
        cv2.imwrite(str(tmp_path / "a.tiff"), np.full((*SIZE_HW, 3), 40000, dtype=np.uint16))
        with pytest.raises(UnreadableImageError, match="of 16 bits, more than 8 bits a channel"):
            open_image(tmp_path / "a.tiff", Intake(depth_range=(0, 65535)))

    def test_frames_that_show_nothing_within_the_range(self):
        with pytest.raises(UnreadableImageError, match=r"its values are 7 to 7, outside of the depth range 10 to 20"):
            open_image(np.full(SIZE_HW, 7, dtype=np.uint16), Intake(depth_range=(10, 20)))
        with pytest.raises(UnreadableImageError, match="percentiles:1,99 of its values are both 7"):
            open_image(np.full(SIZE_HW, 7, dtype=np.uint16), Intake(depth_range="percentiles:1,99"))
        broken = np.zeros(SIZE_HW, dtype=np.float32)
        broken[0, 0] = np.nan
        with pytest.raises(UnreadableImageError, match="1 of its 432 values are NaN"):
            open_image(broken, Intake(depth_range=(0, 1)))

    @pytest.mark.parametrize("value", [(1, 1), (5, 2), (0, float("nan")), "1,99", "percentiles:1", "percentiles:-1,50"])
    def test_ranges_that_are_none(self, value):
        with pytest.raises(ValueError, match="a depth range is"):
            Intake(depth_range=value)

    def test_words_of_a_command_line_and_json(self):
        assert Intake.with_depth(["0", "4095"]).depth_range == (0.0, 4095.0)
        assert Intake.with_depth(["percentiles:1,99"]).depth_range == "percentiles:1,99"
        assert Intake.with_depth(None) == Intake()
        assert Intake.of({"depth_range": ["percentiles:1", 99]}).depth_range == "percentiles:1,99"  # of --cfg-options
        assert Intake.of({"depth_range": [0, 9]}) == Intake(depth_range=(0, 9))
        assert Intake.of(None, PUBLISHED) == PUBLISHED
        with pytest.raises(ValueError, match="found uprigt"):
            Intake.of({"uprigt": True})


class TestWhatIsRefused:
    def test_small_large_and_several_pages(self, tmp_path):
        Image.new("RGB", (40, 15)).save(tmp_path / "small.png")
        with pytest.raises(UnreadableImageError, match="40 x 15 pixels; the least side is 16"):
            open_image(tmp_path / "small.png")
        assert open_image(tmp_path / "small.png", Intake(min_side=15)).shape == (15, 40, 3)
        with pytest.raises(UnreadableImageError, match="40 x 15 pixels, over 500"):
            open_image(tmp_path / "small.png", Intake(max_pixels=500))
        frame = Image.fromarray(pixels())
        frame.save(tmp_path / "pages.tif", save_all=True, append_images=[frame, frame])
        with pytest.raises(UnreadableImageError, match="holds 3 pages or frames"):
            open_image(tmp_path / "pages.tif")

    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    def test_a_small_file_of_many_pixels_is_not_decoded(self, tmp_path, monkeypatch):
        Image.new("1", (12000, 12000)).save(tmp_path / "bomb.png")
        assert (tmp_path / "bomb.png").stat().st_size < 200_000
        monkeypatch.setattr(Image.Image, "load", None)
        with pytest.raises(UnreadableImageError, match="12000 x 12000 pixels, over 64,000,000"):
            open_image(tmp_path / "bomb.png")

    def test_pipes_folders_dangling_links_and_other_formats(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        (tmp_path / "x.jpg").mkdir()
        for name in ("pipe.png", "x.jpg"):
            with pytest.raises(UnreadableImageError, match=f"{name}' cannot be decoded: it is no regular file"):
                open_image(tmp_path / name)
        (tmp_path / "link.png").symlink_to("nowhere.png")
        with pytest.raises(UnreadableImageError, match="it is a link to nothing"):
            open_image(tmp_path / "link.png")
        with pytest.raises(UnreadableImageError, match="there is no such file"):
            open_image(tmp_path / "none.png")
        buffer = io.BytesIO()
        Image.fromarray(pixels()).save(buffer, "GIF")
        with pytest.raises(UnreadableImageError, match="damaged, or none of JPEG, PNG"):
            open_image(buffer.getvalue())
