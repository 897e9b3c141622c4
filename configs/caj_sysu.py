# CAJ on SYSU-MM01. Published (single-shot, mean of 10 gallery draws, mirrored image added):
# all-search Rank-1 69.88, mAP 66.89, mINP 53.61 (Ye et al., ICCV 2021).
# As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/sysu.py',
    './_base_/models/caj.py',
    './_base_/schedules/caj.py',
    './_base_/default_runtime.py',
]
image_size = (288, 144)  # height, width
model = dict(head=dict(num_classes=395))
train_dataloader = dict(batch_sampler=dict(num_ids=8))
