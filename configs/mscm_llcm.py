# MSCMNet on LLCM. Published (summed similarity of both features, mean of 10 gallery draws): infrared-to-visible
# Rank-1 55.1, mAP 60.8; visible-to-infrared Rank-1 63.9, mAP 66.1 (arXiv 2311.14395).
# As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/llcm.py',
    './_base_/models/mscm.py',
    './_base_/schedules/mscm.py',
    './_base_/default_runtime.py',
]
image_size = (384, 192)  # height, width
model = dict(head=dict(num_classes=713))
