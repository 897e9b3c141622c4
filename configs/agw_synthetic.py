# AGW, tiny and from scratch, on synthetic people, beside mscm_synthetic.py: same data, schedule and width. Its numbers
# say nothing about SYSU-MM01. As there, an Adam-type optimizer, and the metric loss starts late.
_base_ = [
    './_base_/datasets/synthetic.py',
    './_base_/models/agw.py',
    './_base_/schedules/synthetic.py',
    './_base_/default_runtime.py',
]
model = dict(
    head=dict(num_classes=150, losses=dict(wrt=dict(start_iter=100, ramp_iters=200))),
    # small images
    data_preprocessor=dict(ops=dict(crop=dict(padding=4))),
    backbone=dict(depth=18, base_channels=16, init_cfg=None),
)
