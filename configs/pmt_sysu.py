# PMT on SYSU-MM01. Published (single-shot, mean of 10 gallery draws, feature after the BN neck):
# all-search Rank-1 67.53, mAP 64.98, mINP 51.86 (README of the release, each with a ~; it warns that they fluctuate).
# As published, the best epoch is chosen on the test set.
# Beside the paper: _base_/models/pmt.py has the parts of its method section under their names (the transformer and its
# ImageNet weights, the progressive learning strategy, MSEL, DCL, the overall objective as the sum of the losses);
# _base_/schedules/pmt.py and the lines below have its implementation details. Other ImageNet weights than the published
# ones: --cfg-options model.backbone.init_cfg.checkpoint=torchvision://vit_b_16 (or a file).
_base_ = [
    './_base_/datasets/sysu.py',
    './_base_/models/pmt.py',
    './_base_/schedules/pmt.py',
    './_base_/default_runtime.py',
]
image_size = (256, 128)  # height, width
model = dict(head=dict(num_classes=395))
# 8 identities x 4 images x 2 modalities, the 4 images of an identity without replacement
train_dataloader = dict(batch_sampler=dict(num_ids=8, num_instances=4, replacement=False))
# the release keeps the epoch of the best mAP
default_hooks = dict(checkpoint=dict(save_best='reid/mAP'))
