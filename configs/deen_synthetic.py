# DEEN, tiny and from scratch, on synthetic people, beside mscm_synthetic.py: same data, schedule and width. Its numbers
# say nothing about SYSU-MM01. As there, an Adam-type optimizer, and the metric losses start late.
_base_ = [
    './_base_/datasets/synthetic.py',
    './_base_/models/deen.py',
    './_base_/schedules/synthetic.py',
    './_base_/default_runtime.py',
]
_views = _base_.model.data_preprocessor.views
for _view in _views:
    for _op in _view.ops:
        _op.update(_base_.small_ops.get(_op.type, {}))
model = dict(
    data_preprocessor=dict(views=_views),
    backbone=dict(depth=18, base_channels=16, image_size={{_base_.image_size}}, init_cfg=None),
    head=dict(
        num_classes=150,
        metric_losses=dict.fromkeys(('triplet', 'cpm', 'orthogonality'), _base_.metric_ramp),
    ),
)
del _views, _view, _op
val_evaluator = dict(features=['sum', 'feat_bn'])
test_evaluator = dict(features=['sum', 'feat_bn', 'feat_pool'])
