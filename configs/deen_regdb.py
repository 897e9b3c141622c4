# DEEN on RegDB, split 1 of 10. Published (mean over the ten splits, mirrored image added, summed similarity):
# visible-to-infrared Rank-1 91.1, mAP 85.1 (Zhang and Wang, CVPR 2023).
# As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/regdb.py',
    './_base_/models/deen.py',
    './_base_/schedules/deen.py',
    './_base_/default_runtime.py',
]
image_size = (384, 144)  # height, width
# The published RegDB network ends behind stage 3, which keeps its stride of 2: 1024-d features.
model = dict(
    data_preprocessor=dict(ops=dict(erase=dict(area=(0.02, 0.4)))),
    backbone=dict(
        strides=(1, 2, 2),
        plugins=dict(mfa=dict(after=['stage1', 'stage2']), dee=dict(after='stage2')),
    ),
    head=dict(num_classes=206),
)
val_evaluator = dict(features=['sum', 'feat_bn'])
test_evaluator = dict(features=['sum', 'blend=0.1', 'feat_bn', 'feat_pool'])
