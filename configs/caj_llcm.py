# CAJ on LLCM. Published (mean of 10 gallery draws, mirrored image added):
# infrared-to-visible Rank-1 48.8, mAP 56.6;
# visible-to-infrared Rank-1 56.5, mAP 59.8 (as reported with LLCM: Zhang and Wang, CVPR 2023).
# As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/llcm.py',
    './_base_/models/caj.py',
    './_base_/schedules/caj.py',
    './_base_/default_runtime.py',
]
image_size = (288, 144)  # height, width
model = dict(head=dict(num_classes=713))
train_dataloader = dict(batch_sampler=dict(num_ids=8))
