# AGW on SYSU-MM01. Published (single-shot, mean of 10 gallery draws):
# all-search Rank-1 47.50, mAP 47.65, mINP 35.30 (Ye et al., TPAMI 2022).
# As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/sysu.py',
    './_base_/models/agw.py',
    './_base_/schedules/agw.py',
    './_base_/default_runtime.py',
]
image_size = (288, 144)  # height, width
model = dict(head=dict(num_classes=395))
train_dataloader = dict(batch_sampler=dict(num_ids=8))
