# DEEN's training: AGW's warm-up, x 0.1 at epochs 20 and 80 (counted from 0) of 151.
_base_ = './agw.py'
train_cfg = dict(max_epochs=151)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=10, by_epoch=True),
    dict(type='MultiStepLR', milestones=[20, 80], gamma=0.1, by_epoch=True),
]
auto_scale_lr = dict(base_batch_size=48)
