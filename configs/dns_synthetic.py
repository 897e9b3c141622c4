# DNS, tiny and from scratch, on synthetic people, beside mscm_synthetic.py: same data, schedule and width. Its numbers
# say nothing about SYSU-MM01. As there, an Adam-type optimizer, and what pulls features together starts late.
_base_ = [
    './_base_/datasets/synthetic.py',
    './_base_/models/dns.py',
    './_base_/schedules/synthetic.py',
    './_base_/default_runtime.py',
]
_small = dict(prob=0.3, area=(0.02, 0.2))
model = dict(
    data_preprocessor=dict(
        ops=dict(crop=dict(padding=4)),
        views=dict(
            visible=dict(ops=dict(early=None, late=_small)),
            infrared=dict(ops=dict(early=None, late=_small)),
        ),
    ),
    backbone=dict(depth=18, base_channels=16, init_cfg=None),
    head=dict(
        num_classes=150,
        losses=dict(
            circle=dict(start_iter=100, ramp_iters=200),
            da=dict(start_iter=100, ramp_iters=200),
            dd=dict(start_iter=100, ramp_iters=200),
        ),
    ),
)
del _small
