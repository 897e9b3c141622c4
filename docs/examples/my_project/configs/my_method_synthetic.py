# MSCMNet on synthetic people with losses, a trunk plugin and a view of this project: shows how, promises nothing.
_base_ = '../../../../configs/mscm_synthetic.py'
custom_imports = dict(imports=['my_method'], allow_failed_imports=False)

model = dict(
    data_preprocessor=dict(
        views=dict(infrared_2=dict(ops=dict(gamma=dict(type='RandomGamma', gamma=(0.7, 1.5), before='brightness'))))
    ),
    backbone=dict(plugins=dict(gate=dict(type='ChannelGate', after='stage4'))),
    head=dict(
        losses=dict(
            hetero_center=dict(type='HeteroCenterLoss', weight=0.5),
            slow_center=dict(type='SlowCenterLoss', weight=0.1, begin=1),
        )
    ),
)
