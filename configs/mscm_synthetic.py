# MSCMNet, tiny and from scratch, on synthetic people: shows that everything works, on two CPU cores in minutes.
# Its numbers say nothing about SYSU-MM01. Two things differ in kind from the real configs: an Adam-type optimizer, and
# QCT starts late, because at full weight from random features it pulls them all to one point.
_base_ = [
    './_base_/datasets/synthetic.py',
    './_base_/models/mscm.py',
    './_base_/schedules/synthetic.py',
    './_base_/default_runtime.py',
]
model = dict(
    # small images
    data_preprocessor=dict(ops=dict(crop=dict(padding=4), erase=dict(prob=0.3, area=(0.02, 0.2)))),
    backbone=dict(depth=18, base_channels=16, init_cfg=None),
    head=dict(num_classes=150, losses=dict(qct=dict(start_iter=100, ramp_iters=200))),
)
