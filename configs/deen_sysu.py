# DEEN on SYSU-MM01. Published (single-shot, mean of 10 gallery draws, mirrored image added, summed similarity):
# all-search Rank-1 74.7, mAP 71.8 (Zhang and Wang, CVPR 2023).
# As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/sysu.py',
    './_base_/models/deen.py',
    './_base_/schedules/deen.py',
    './_base_/default_runtime.py',
]
image_size = (384, 144)  # height, width
model = dict(head=dict(num_classes=395))
val_evaluator = dict(features=['sum', 'feat_bn'])
test_evaluator = dict(features=['sum', 'blend=0.1', 'feat_bn', 'feat_pool'])
