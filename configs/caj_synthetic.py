# CAJ, tiny and from scratch, on synthetic people, beside mscm_synthetic.py: same data, schedule and width. Its numbers
# say nothing about SYSU-MM01. As there, an Adam-type optimizer, and the metric loss starts late.
_base_ = [
    './_base_/datasets/synthetic.py',
    './_base_/models/caj.py',
    './_base_/schedules/synthetic.py',
    './_base_/default_runtime.py',
]
_views, _small = _base_.model.data_preprocessor.views, _base_.small_ops
model = dict(
    head=dict(num_classes=150, losses=dict(esd=dict(start_iter=100, ramp_iters=200))),
    data_preprocessor=dict(
        views=[dict(view, ops=[dict(op, **_small.get(op.type, {})) for op in view.ops]) for view in _views]
    ),
    backbone=dict(depth=18, base_channels=16, image_size={{_base_.image_size}}, init_cfg=None),
)
del _views, _small
