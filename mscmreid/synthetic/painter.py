"""Draws the frames of a plan: persons and cameras are made when first needed and kept."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mscmreid.synthetic.person import Person, draw_person
from mscmreid.synthetic.photo import draw_shot, take_photo
from mscmreid.synthetic.plan import Frame, Plan
from mscmreid.synthetic.scene import Camera, draw_heading, make_camera


class Painter:
    """Draws frames, each from (seed, pid, camera, modality, drawing) alone, so that their order does not matter.

    Args:
        seed: seed of the data set.
        size: (height, width) of the images.
        indoor: cameras that are inside.
        infrared: kind of infrared, 'infrared' (near) or 'thermal'.
    """

    def __init__(
        self, seed: int, size: tuple[int, int], indoor: Sequence[int] = (), infrared: str = "infrared"
    ) -> None:
        self.seed, self.size, self.indoor, self.infrared = seed, size, tuple(indoor), infrared
        self._cameras: dict[tuple[int, str], Camera] = {}
        self._person: Person | None = None

    @classmethod
    def of(cls, plan: Plan) -> Painter:
        """The painter that ``plan`` asks for."""
        return cls(plan.options.seed, plan.options.size, plan.indoor, plan.infrared)

    def person(self, pid: int) -> Person:
        """Person ``pid``; the last one asked for is kept."""
        if self._person is None or self._person.pid != pid:
            self._person = draw_person(self.seed, pid)
        return self._person

    def camera(self, cam_id: int, modality: str) -> Camera:
        """Camera ``cam_id`` in its 'visible' or 'infrared' form."""
        kind = self.infrared if modality == "infrared" else modality
        if (cam_id, kind) not in self._cameras:
            made = make_camera(self.seed, cam_id, kind, cam_id in self.indoor, self.size[0])
            self._cameras[cam_id, kind] = made
        return self._cameras[cam_id, kind]

    def draw(self, frame: Frame) -> np.ndarray:
        """The picture of ``frame``, uint8 (height, width, 3)."""
        camera = self.camera(frame.cam_id, frame.modality)
        key = [self.seed, 303, frame.pid, frame.cam_id, int(frame.modality == "infrared")]
        rng = np.random.default_rng([*key, frame.drawing])
        if frame.heading is None:
            passing = draw_heading(np.random.default_rng(key), camera)
            shot = draw_shot(rng, camera, passing, turn_prob=0.25)
        else:
            shot = draw_shot(rng, camera, frame.heading, turn_prob=0.0)
        return take_photo(self.person(frame.pid), camera, shot, self.size)

    def encode(self, frame: Frame) -> bytes:
        """The picture of ``frame`` as the bytes of its file (JPEG or BMP, by the path's ending)."""
        buffer = io.BytesIO()
        image = Image.fromarray(self.draw(frame))
        if frame.path.endswith(".bmp"):
            image.save(buffer, "BMP")
        else:
            image.save(buffer, "JPEG", quality=92)
        return buffer.getvalue()
