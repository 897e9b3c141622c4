# AGW on RegDB, split 1 of 10. Published (mean over the ten splits):
# visible-to-infrared Rank-1 70.05, mAP 66.37, mINP 50.19 (Ye et al., TPAMI 2022).
# As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/regdb.py',
    './_base_/models/agw.py',
    './_base_/schedules/agw.py',
    './_base_/default_runtime.py',
]
image_size = (288, 144)  # height, width
model = dict(head=dict(num_classes=206))
train_dataloader = dict(batch_sampler=dict(num_ids=8))
