# MSCMNet, tiny and from scratch, on synthetic people: shows that everything works, on two CPU cores in minutes.
# Its numbers say nothing about SYSU-MM01. Two things differ in kind from the real configs: an Adam-type optimizer, and
# QCT starts late, because at full weight from random features it pulls them all to one point.
_base_ = [
    './_base_/datasets/synthetic.py',
    './_base_/models/mscm.py',
    './_base_/schedules/mscm.py',
    './_base_/default_runtime.py',
]
_crop_flip = [dict(type='PadCrop', padding=4), dict(type='HorizontalFlip', prob=0.5)]
_norm_erase = [dict(type='Normalize'), dict(type='RandomErase', prob=0.3, area=(0.02, 0.2))]
mscm_views = dict(
    visible_1=dict(ops=[dict(type='RandomGrayscale', prob=0.5), *_crop_flip, *_norm_erase]),
    visible_2=dict(ops=[*_crop_flip, *_norm_erase, dict(type='ChannelToAll')]),
    infrared_1=dict(ops=[*_crop_flip, *_norm_erase, dict(type='InfraredGray')]),
    infrared_2=dict(ops=[dict(type='RandomBrightness'), *_crop_flip, *_norm_erase, dict(type='ChannelScale')]),
)
del _crop_flip, _norm_erase
_views = dict(visible_1='visible', visible_2='visible', infrared_1='infrared', infrared_2='infrared')
model = dict(
    data_preprocessor=dict(
        views=[dict(modality=modality, stem=name, **mscm_views[name]) for name, modality in _views.items()]
    ),
    backbone=dict(depth=18, base_channels=16, image_size={{_base_.image_size}}, init_cfg=None),
    head=dict(num_classes=150, metric_losses=dict(qct=dict(start_iter=400, ramp_iters=400))),
)

optim_wrapper = dict(
    dtype='float32',
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=1e-2),
    paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0, bias_decay_mult=0.0),
)
train_cfg = dict(max_epochs=10, val_begin=2, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end=10, eta_min=2e-5, by_epoch=True, convert_to_iter_based=True),
]
