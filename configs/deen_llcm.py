# DEEN on LLCM. Published (mean of 10 gallery draws, mirrored image added, summed similarity):
# infrared-to-visible Rank-1 54.9, mAP 62.9;
# visible-to-infrared Rank-1 62.5, mAP 65.8 (Zhang and Wang, CVPR 2023).
# As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/llcm.py',
    './_base_/models/deen.py',
    './_base_/schedules/deen.py',
    './_base_/default_runtime.py',
]
image_size = (384, 144)  # height, width
model = dict(data_preprocessor=dict(ops=dict(erase=dict(area=(0.02, 0.4)))), head=dict(num_classes=713))
val_evaluator = dict(features=['sum', 'feat_bn'])
test_evaluator = dict(features=['sum', 'blend=0.1', 'feat_bn', 'feat_pool'])
