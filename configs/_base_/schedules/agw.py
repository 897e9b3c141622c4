# AGW's training: MSCMNet's optimizer, warm-up 0.1 (e + 1) / 10, x 0.1 at epochs 20 and 50 (counted from 0) of 81.
_base_ = './mscm.py'
train_cfg = dict(max_epochs=81)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=10, by_epoch=True),
    dict(type='MultiStepLR', milestones=[20, 50], gamma=0.1, by_epoch=True),
]
auto_scale_lr = dict(base_batch_size=64)
