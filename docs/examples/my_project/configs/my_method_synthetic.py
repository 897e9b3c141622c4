# MSCMNet on synthetic people with losses, a trunk plugin and a view of this project: shows how, promises nothing.
_base_ = '../../../../configs/mscm_synthetic.py'
custom_imports = dict(imports=['my_method'], allow_failed_imports=False)

views = _base_.model.data_preprocessor.views
views[3].ops.insert(0, dict(type='RandomGamma', gamma=(0.7, 1.5)))
model = dict(
    data_preprocessor=dict(views=views),
    backbone=dict(plugins=dict(gate=dict(type='ChannelGate', after='stage4'))),
    head=dict(
        losses=dict(
            hetero_center=dict(type='HeteroCenterLoss', weight=0.5),
            slow_center=dict(type='SlowCenterLoss', weight=0.1, begin=1),
        )
    ),
)
