# PMT on LLCM, with the settings for SYSU-MM01. Nothing is published. The best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/llcm.py',
    './_base_/models/pmt.py',
    './_base_/schedules/pmt.py',
    './_base_/default_runtime.py',
]
image_size = (256, 128)  # height, width
model = dict(head=dict(num_classes=713))
train_dataloader = dict(batch_sampler=dict(num_ids=8, num_instances=4, replacement=False))
default_hooks = dict(checkpoint=dict(save_best='reid/mAP'))
