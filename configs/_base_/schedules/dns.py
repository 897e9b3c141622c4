# DNS's training: 100 epochs, a learning rate that changes with every batch: from 0.0001 of its peak up to it at epoch
# 16, then down to 0 at the end. 'published' also takes over that the first batch of an epoch uses the rate of the
# epoch's end, which shaped the published numbers; batch_rule='clean' does not.
_base_ = './mscm.py'
train_cfg = dict(max_epochs=100, val_begin=1)
optim_wrapper = dict(
    optimizer=dict(lr=0.2),
    paramwise_cfg=dict(
        custom_keys=dict(
            _delete_=True,
            **{
                'backbone.streams': dict(lr_mult=0.1),
                'backbone.plugins': dict(lr_mult=0.1),  # HSS and CSS
                'backbone.trunk.stage3': dict(lr_mult=0.2),
                'backbone.trunk.stage4': dict(lr_mult=0.25),
            },
        )
    ),
)
param_scheduler = [
    dict(
        type='PiecewiseLinearLR',
        points=[(0, 1e-4), (16, 1.0), (None, 0.0)],  # (epoch, factor); None: the last one
        batch_rule='published',
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
