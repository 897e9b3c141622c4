# The synthetic set's training, for every system: AdamW with one learning rate, six epochs from scratch.
_base_ = './mscm.py'
train_cfg = dict(max_epochs=6, val_begin=2, val_interval=2)
optim_wrapper = dict(
    dtype='float32',
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=1e-2, foreach=True),
    paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=6, eta_min=2e-5, by_epoch=True, convert_to_iter_based=True),
]
