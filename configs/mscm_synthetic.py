# MSCMNet, tiny and from scratch, on synthetic people: shows that everything works, on two CPU cores in minutes.
# Its numbers say nothing about SYSU-MM01. Two things differ in kind from the real configs: an Adam-type optimizer, and
# QCT starts late, because at full weight from random features it pulls them all to one point.
_base_ = [
    './_base_/datasets/synthetic.py',
    './_base_/models/mscm.py',
    './_base_/schedules/synthetic.py',
    './_base_/default_runtime.py',
]
mscm_views = _base_.mscm_views
for _view in mscm_views.values():
    for _op in _view.ops:
        _op.update(_base_.small_ops.get(_op.type, {}))
del _view, _op
model = dict(
    data_preprocessor=dict(views=list(mscm_views.values())),
    backbone=dict(depth=18, base_channels=16, image_size={{_base_.image_size}}, init_cfg=None),
    head=dict(num_classes=150, losses=dict(qct=dict(start_iter=100, ramp_iters=200))),
)
