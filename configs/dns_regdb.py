# DNS on RegDB, split 1 of 10. Published (mean over the ten splits, feature after the BN neck, mirrored image added):
# infrared-to-visible Rank-1 93.49, mAP 88.10, mINP 75.91; visible-to-infrared Rank-1 93.01, mAP 88.56, mINP 78.42
# (output of the test notebook released with the checkpoints).
# As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/regdb.py',
    './_base_/models/dns.py',
    './_base_/schedules/dns.py',
    './_base_/default_runtime.py',
]
image_size = (288, 144)  # height, width
model = dict(
    data_preprocessor=dict(
        views=dict(
            visible=dict(ops=dict(late=None, channel=dict(gray=False))), infrared=dict(ops=dict(hue=None, late=None))
        )
    ),
    head=dict(num_classes=206),
)
optim_wrapper = dict(optimizer=dict(lr=0.1))
val_evaluator = dict(protocols=[dict(type='RegDBProtocol', direction='infrared-to-visible')])
