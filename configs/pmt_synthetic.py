# PMT, tiny and from scratch, on synthetic people: shows that everything works. Its numbers say nothing about SYSU-MM01.
# As in the other synthetic configs another schedule; two epochs of the first stage instead of six.
_base_ = [
    './_base_/datasets/synthetic.py',
    './_base_/models/pmt.py',
    './_base_/schedules/synthetic.py',
    './_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(
        ops=dict(erase=dict(prob=0.3, area=(0.02, 0.2))),
        views=dict(
            visible=dict(ops=dict(gray=dict(until_epoch=2))),
            infrared=dict(ops=dict(distort=dict(ops=dict(blur=dict(kernel=5, sigma=(0.1, 1.0)))))),
        ),
    ),
    backbone=dict(patch=8, stride=6, out_channels=96, depth=4, num_heads=4, init_cfg=None),
    head=dict(
        num_classes=150,
        losses=dict(
            intra=dict(until_epoch=2), triplet=dict(from_epoch=2), msel=dict(from_epoch=2), dcl=dict(from_epoch=2)
        ),
    ),
)
