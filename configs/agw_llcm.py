# AGW on LLCM. Published (mean of 10 gallery draws):
# infrared-to-visible Rank-1 43.6, mAP 51.8;
# visible-to-infrared Rank-1 51.5, mAP 55.3 (as reported with LLCM: Zhang and Wang, CVPR 2023).
# As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/llcm.py',
    './_base_/models/agw.py',
    './_base_/schedules/agw.py',
    './_base_/default_runtime.py',
]
image_size = (288, 144)  # height, width
model = dict(head=dict(num_classes=713))
train_dataloader = dict(batch_sampler=dict(num_ids=8))
