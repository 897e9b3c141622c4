# PMT's training: AdamW, 24 epochs, the learning rate set once an epoch: a cosine from the first epoch on, warm-up over
# three, and the same floor for both groups. The best mAP is kept, looked at every other epoch.
_base_ = './mscm.py'
train_cfg = dict(max_epochs=24, val_begin=2, val_interval=2)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=3e-4, weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys=dict(
            _delete_=True,
            **{'backbone.layers': dict(lr_mult=0.5), 'backbone.patches': dict(lr_mult=0.5)},
        )
    ),
)
param_scheduler = [dict(type='CosineToFloorLR', floor=3e-6, warmup=3, by_epoch=True)]
auto_scale_lr = dict(base_batch_size=64)
