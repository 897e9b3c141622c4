# PMT's implementation details: AdamW on every trained parameter, 3e-4 and half of it for the blocks and the patches; 24
# epochs, the two stages of the progressive learning being the first 6 and the other 18. The learning rate is set once
# an epoch: warm-up over three, a cosine that starts at the first epoch (so the base rate is never reached), and the
# same floor for both groups, at which the last epoch is trained. The best mAP is kept, looked at every other epoch.
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
