# DEEN on LLCM. Published (mean of 10 gallery draws, mirrored image added, summed similarity):
# infrared-to-visible Rank-1 54.9, mAP 62.9;
# visible-to-infrared Rank-1 62.5, mAP 65.8 (Zhang and Wang, CVPR 2023).
# As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/llcm.py',
    './_base_/models/deen.py',
    './_base_/schedules/deen.py',
    './_base_/default_runtime.py',
]
image_size = (384, 144)  # height, width
_views = _base_.model.data_preprocessor.views
for _view in _views:
    _view.ops[-1].area = (0.02, 0.4)
model = dict(data_preprocessor=dict(views=_views), backbone=dict(image_size=image_size), head=dict(num_classes=713))
train_dataloader = dict(dataset=dict(image_size=image_size))
val_dataloader = dict(dataset=dict(image_size=image_size))
test_dataloader = val_dataloader
val_evaluator = dict(features=['sum', 'feat_bn'])
test_evaluator = dict(features=['sum', 'blend=0.1', 'feat_bn', 'feat_pool'])
del _views, _view
