"""Own data from a CSV, from folders, from a plain folder."""

import layouts
import numpy as np
import pytest
from PIL import Image

from mscmreid.datasets import CrossModalityBatchSampler, FolderReID, PlainFolder, list_images, load_image
from mscmreid.intake import UnreadableImageError

SIZE = (16, 8)
LINES = [
    "path,pid,cam_id,modality,split,role",
    "a/7_1.png,7,1,visible,train,",
    "a/7_2.png,7,3,infrared,train,",
    "a/3_1.png,3,1,visible,train,",
    "a/3_2.png,3,3,infrared,val,",
    "b/q.png,9,3,infrared,test,query",
    "b/g.png,9,2,visible,test,gallery",
    "b/x.png,-1,2,visible,test,gallery",
]


def write_csv(root, lines, images=None):
    (root / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for number, line in enumerate(lines[1:] if images is None else images):
        layouts.write_image(root / line.split(",")[0], seed=number)
    return dict(data_root=str(root), ann_file="people.csv", cache=False, image_size=SIZE)


class TestCSV:
    def test_rows_of_a_split(self, tmp_path):
        options = write_csv(tmp_path, LINES)
        train = FolderReID(split="train", **options)
        rows = train.rows()
        assert rows["path"] == ["a/3_1.png", "a/7_1.png", "a/7_2.png"]
        assert rows["label"].tolist() == [0, 1, 1] and train.metainfo["num_classes"] == 2
        assert rows["modality"].tolist() == ["visible", "visible", "infrared"]
        assert rows["cam_id"].tolist() == [1, 1, 3]
        assert FolderReID(split="trainval", **options).rows()["pid"].tolist() == [3, 3, 7, 7]

    def test_roles_travel_to_rows_and_samples(self, tmp_path):
        dataset = FolderReID(split="test", **write_csv(tmp_path, LINES))
        rows = dataset.rows()
        assert rows["pid"].tolist() == [-1, 9, 9] and rows["role"].tolist() == ["gallery", "gallery", "query"]
        assert dataset[2]["data_samples"].role == "query"
        assert "label" not in rows

    def test_without_roles_there_is_no_such_column(self, tmp_path):
        assert "role" not in FolderReID(split="train", **write_csv(tmp_path, LINES)).rows()

    def test_without_a_split_column_every_row_is_in_every_split(self, tmp_path):
        options = write_csv(tmp_path, ["path,pid,cam_id,modality", "a.png,1,1,visible", "b.png,1,2,infrared"])
        assert len(FolderReID(split="train", **options)) == len(FolderReID(split="test", **options)) == 2

    def test_columns_in_any_order_and_a_byte_order_mark(self, tmp_path):
        options = write_csv(tmp_path, ["\ufeffmodality,cam_id,path,pid", "visible,1,a.png,5"], images=["a.png"])
        assert FolderReID(split="test", **options).rows()["pid"].tolist() == [5]

    def test_name_and_items(self, tmp_path):
        options = write_csv(tmp_path, LINES)
        dataset = FolderReID(split="test", **options)
        assert dataset.metainfo["dataset_name"] == tmp_path.name
        assert FolderReID(split="test", name="mine", **options).metainfo["dataset_name"] == "mine"
        np.testing.assert_array_equal(dataset[0]["inputs"].numpy(), load_image(str(tmp_path / "b/x.png"), SIZE))

    def test_absolute_paths_outside_the_root(self, tmp_path):
        layouts.write_image(tmp_path / "else/a.png", seed=1)
        (tmp_path / "root").mkdir()
        lines = ["path,pid,cam_id,modality", f"{tmp_path}/else/a.png,1,1,visible"]
        dataset = FolderReID(split="test", **write_csv(tmp_path / "root", lines, images=[]))
        assert dataset.rows()["path"] == [f"{tmp_path}/else/a.png"] and dataset[0]["inputs"].shape == (3, *SIZE)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("a/x.png,seven,1,visible,train,", "pid must be an integer, found 'seven'"),
            ("a/x.png,-2,1,visible,train,", "pid must be 0 or more, or -1"),
            ("a/x.png,7,,visible,train,", "cam_id must be an integer, found ''"),
            ("a/x.png,7,1,thermal,train,", r"modality must be one of .* found 'thermal'"),
            ("a/x.png,7,1,visible,training,", r"split must be one of .* found 'training'"),
            ("a/x.png,7,1,visible,train,probe", r"role must be one of .* found 'probe'"),
            ("a/x.png,7,1,visible", "expected 6 columns"),
            ("a/x.png,7,1,visible,train,,more", "expected 6 columns"),
            ("a/7_1.png,7,1,visible,train,", r"'a/7_1\.png' stands in line 2 already"),
        ],
    )
    def test_a_wrong_line_is_named(self, tmp_path, line, message):
        options = write_csv(tmp_path, [*LINES[:3], line])
        with pytest.raises(ValueError, match=rf"people\.csv', line 4: {message}"):
            FolderReID(split="train", **options)

    def test_a_missing_image_is_named_with_its_line(self, tmp_path):
        options = write_csv(tmp_path, LINES)
        (tmp_path / "a/7_2.png").unlink()
        with pytest.raises(FileNotFoundError, match=rf"line 3: no image, looked for '{tmp_path}/a/7_2\.png'"):
            FolderReID(split="train", **options)

    @pytest.mark.parametrize(
        "header", ["path,pid,modality", "path,pid,cam_id,modality,Split", "path,pid,pid,cam_id,modality"]
    )
    def test_a_wrong_header_is_refused(self, tmp_path, header):
        options = write_csv(tmp_path, [header, "a,1,1,visible,train"], images=[])
        with pytest.raises(ValueError, match=rf"line 1: expected the columns path,pid,.* found {header}"):
            FolderReID(split="train", **options)

    def test_no_row_of_the_split_is_an_error(self, tmp_path):
        options = write_csv(tmp_path, LINES[:4])
        with pytest.raises(ValueError, match=r"no row of split 'test': found rows of \['train'\]"):
            FolderReID(split="test", **options)

    def test_training_needs_ids(self, tmp_path):
        options = write_csv(tmp_path, [*LINES[:3], "u.png,-1,1,visible,train,"])
        with pytest.raises(ValueError, match=r"training needs ids, but 'u\.png' has pid -1"):
            FolderReID(split="train", **options)

    def test_other_separators_and_encodings_are_named(self, tmp_path):
        options = write_csv(tmp_path, ["path;pid;cam_id;modality", "a.png;1;1;visible"], images=[])
        with pytest.raises(ValueError, match=r"people.csv', line 1: expected .* separated by commas, not by ';'"):
            FolderReID(split="train", **options)
        (tmp_path / "people.csv").write_bytes("path,pid,cam_id,modality\nJos\xe9.png,1,1,visible".encode("latin-1"))
        with pytest.raises(ValueError, match=r"people.csv' is not in UTF-8 .*save it as 'CSV UTF-8'"):
            FolderReID(split="train", **options)
        (tmp_path / "people.csv").write_text('path,pid,cam_id,modality\n"a.png"x,1,1,visible\n')
        with pytest.raises(ValueError, match=r"people.csv', behind line 1: .* expected after"):
            FolderReID(split="train", **options)

    def test_a_person_in_training_and_test_is_refused(self, tmp_path):
        options = write_csv(tmp_path, [*LINES, "b/again.png,7,3,infrared,test,query"])
        for split in ("train", "test"):
            with pytest.raises(ValueError, match=r"1 of 2 test people are training people too, such as 7 \(line 2 a"):
                FolderReID(split=split, **options)
        assert len(FolderReID(split="test", allow_shared_people=True, **options)) == 4
        lines = ["path,pid,cam_id,modality,split", "a.png,-1,1,visible,test", "b.png,-1,1,visible,val"]
        assert len(FolderReID(split="test", **write_csv(tmp_path, lines))) == 1  # unknown people are nobody

    def test_missing_images_are_named_together(self, tmp_path):
        options = write_csv(tmp_path, LINES, images=[LINES[1]])
        with pytest.raises(FileNotFoundError, match=r"line 3: no image, .*a/7_2.png.*; .*line 4: no image, "):
            FolderReID(split="train", **options)

    def test_one_image_spelled_in_two_ways(self, tmp_path):
        lines = [LINES[0], "a/1.png,1,1,visible,train,", "./a//1.png,1,1,visible,train,"]
        with pytest.raises(ValueError, match=r"line 3: './a//1.png' stands in line 2 already"):
            FolderReID(split="train", **write_csv(tmp_path, lines))

    def test_photos_come_upright_and_the_cache_knows(self, tmp_path):
        options = write_csv(tmp_path, LINES, images=[])
        exif = Image.Exif()
        exif[0x0112] = 6
        for number, line in enumerate(LINES[1:], start=1):
            layouts.write_image(tmp_path / line.split(",")[0], seed=number)
            pixels = np.random.RandomState(number).randint(0, 256, (30, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / line.split(",")[0], exif=exif)
        for cache in (False, True):
            options["cache"] = cache
            upright = FolderReID(split="test", **options)
            stored = FolderReID(split="test", intake=dict(upright=False), **options)
            path = str(tmp_path / "b/q.png")
            row = upright.rows()["path"].index("b/q.png")
            for dataset in (upright, stored):
                expected = load_image(path, SIZE, intake=dataset.intake)
                np.testing.assert_array_equal(dataset[row]["inputs"].numpy(), expected)
            assert (upright[row]["inputs"] != stored[row]["inputs"]).any()
        assert upright.cache.path != stored.cache.path
        assert upright.metainfo["intake"]["upright"] is True

    def test_frames_of_16_bits_need_a_depth_range(self, tmp_path):
        options = write_csv(tmp_path, [LINES[0], "a.png,1,3,infrared,test,"], images=[])
        Image.fromarray(np.arange(800, dtype=np.uint16).reshape(40, 20)).save(tmp_path / "a.png")
        with pytest.raises(UnreadableImageError, match="more than 8 bits a channel"):
            FolderReID(split="test", **{**options, "cache": True})
        dataset = FolderReID(split="test", intake=dict(depth_range=[0, 799]), **options)
        assert dataset[0]["inputs"].max() > 240 and dataset.metainfo["intake"]["depth_range"] == (0, 799)

    def test_a_missing_csv_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=rf"CSV is missing: looked for '{tmp_path}/no\.csv'"):
            FolderReID(data_root=str(tmp_path), ann_file="no.csv")


class TestFolders:
    @pytest.fixture
    def root(self, tmp_path):
        names = ["visible/cam1/0007/a.png", "visible/cam2/0003/b.png", "infrared/cam4/7/c.png", "infrared/cam4/3/d.png"]
        for number, name in enumerate(names):
            layouts.write_image(tmp_path / "train" / name, seed=number)
        layouts.write_image(tmp_path / "test/infrared/cam4/0009/e.png", seed=9)
        return tmp_path

    def make(self, root, split):
        return FolderReID(data_root=str(root), split=split, cache=False)

    def test_rows(self, root):
        rows = self.make(root, "train").rows()
        assert rows["path"] == [
            "train/visible/cam2/0003/b.png",
            "train/infrared/cam4/3/d.png",
            "train/visible/cam1/0007/a.png",
            "train/infrared/cam4/7/c.png",
        ]
        assert rows["pid"].tolist() == [3, 3, 7, 7] and rows["cam_id"].tolist() == [2, 4, 1, 4]
        assert rows["label"].tolist() == [0, 0, 1, 1]
        assert self.make(root, "test").rows()["modality"].tolist() == ["infrared"]

    def test_the_split_level_may_be_missing(self, root):
        rows = self.make(root / "train", "test").rows()
        assert len(rows["path"]) == 4 and rows["path"][0] == "visible/cam2/0003/b.png"

    def test_a_missing_split_is_named(self, root):
        with pytest.raises(FileNotFoundError, match=rf"looked for '{root}/val/visible' or .*\['test', 'train'\]"):
            self.make(root, "val")

    @pytest.mark.parametrize(
        ("stray", "message"),
        [
            ("train/rgb/cam1/1/a.png", r"should hold the folders .* only, found 'rgb'"),
            ("train/visible/front/1/a.png", r"cam1, cam2, .* found 'front'"),
            ("train/visible/camera_three/1/a.png", r"train/visible' should hold .* found 'camera_three'"),
            ("train/visible/cam1/anna/a.png", r"visible/cam1' should hold a folder a person.* found 'anna'"),
            (
                "train/visible/cam1/a.png",
                r"expected <modality>/cam<number>/<person>/<image>, found .*cam1/a\.png",
            ),
        ],
    )
    def test_what_does_not_fit_is_named(self, root, stray, message):
        layouts.write_image(root / stray, seed=1)
        with pytest.raises(ValueError, match=message):
            self.make(root, "train")

    def test_a_person_in_training_and_test_is_refused(self, root):
        layouts.write_image(root / "test/visible/cam1/3/f.png", seed=1)
        shared = r"1 of 2 test people are training people too, such as 3 \(train/visible/cam2/0003 and test/visible"
        with pytest.raises(ValueError, match=shared):
            self.make(root, "test")
        assert len(FolderReID(data_root=str(root), split="test", cache=False, allow_shared_people=True)) == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.png,1,1,visible", "b.png,2,1,visible"], r"no infrared image .*\(2 people with visible images\)"),
        (["a.png,1,1,visible", "b.png,2,3,infrared"], r"nobody has images in both modalities \(1 people in visible, 1"),
    ],
)
def test_training_rows_without_pairs_are_named(tmp_path, lines, message):
    dataset = FolderReID(split="train", **write_csv(tmp_path, ["path,pid,cam_id,modality", *lines]))
    with pytest.raises(ValueError, match=f"{tmp_path.name} in '{tmp_path}': {message}"):
        CrossModalityBatchSampler(dataset, num_ids=2, num_instances=2)


def test_a_batch_of_one_person_is_refused(tmp_path):
    lines = ["path,pid,cam_id,modality", "a.png,1,1,visible", "b.png,1,3,infrared"]
    dataset = FolderReID(split="train", **write_csv(tmp_path, lines))
    with pytest.raises(ValueError, match="num_ids=1: a batch of one person"):
        CrossModalityBatchSampler(dataset, num_ids=1, num_instances=2)


class TestPlainFolder:
    @pytest.fixture
    def root(self, tmp_path):
        for number, name in enumerate(["b.png", "a/2.jpg", "a/1.JPG", ".hidden/c.png"]):
            layouts.write_image(tmp_path / name, seed=number)
        (tmp_path / "notes.txt").touch()
        return tmp_path

    def test_lists_images_in_order(self, root):
        assert list_images(str(root)) == ["a/1.JPG", "a/2.jpg", "b.png"]

    def test_has_no_ids(self, root):
        dataset = PlainFolder(str(root), modality="infrared", image_size=SIZE)
        rows = dataset.rows()
        assert rows["pid"].tolist() == [-1] * 3 and rows["modality"].tolist() == ["infrared"] * 3
        sample = dataset[1]["data_samples"]
        assert sample.img_path == str(root / "a/2.jpg") and sample.pid == -1 and "label" not in sample

    def test_no_image_is_an_error(self, root):
        (root / "empty").mkdir()
        with pytest.raises(FileNotFoundError, match="no image in"):
            PlainFolder(str(root / "empty"), modality="visible")

    def test_no_folder_is_an_error(self, root):
        with pytest.raises(
            FileNotFoundError, match=r"none is missing: data_root=.*/none' is .*, where there is no folder"
        ):
            PlainFolder(str(root / "none"), modality="visible")

    def test_an_unknown_modality_is_an_error(self, root):
        with pytest.raises(ValueError, match="'thermal'"):
            PlainFolder(str(root), modality="thermal")
