# CAJ on RegDB, split 1 of 10. Published (mean over the ten splits, mirrored image added):
# visible-to-infrared Rank-1 85.03, mAP 79.14, mINP 65.33 (Ye et al., ICCV 2021).
# As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/regdb.py',
    './_base_/models/caj.py',
    './_base_/schedules/caj.py',
    './_base_/default_runtime.py',
]
image_size = (288, 144)  # height, width
model = dict(head=dict(num_classes=206))
train_dataloader = dict(batch_sampler=dict(num_ids=8))
