# PMT on SYSU-MM01. Published (single-shot, mean of 10 gallery draws, feature after the BN neck):
# all-search Rank-1 67.53, mAP 64.98, mINP 51.86 (README of the release, each with a ~). That started from other
# ImageNet weights than this config, see _base_/models/pmt.py. As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/sysu.py',
    './_base_/models/pmt.py',
    './_base_/schedules/pmt.py',
    './_base_/default_runtime.py',
]
image_size = (256, 128)  # height, width
model = dict(head=dict(num_classes=395))
train_dataloader = dict(batch_sampler=dict(num_ids=8, num_instances=4, replacement=False))
default_hooks = dict(checkpoint=dict(save_best='reid/mAP'))
