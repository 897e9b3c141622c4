# MSCMNet on SYSU-MM01 with the schedule of the training log that its authors released: x 0.1 at epochs 25 and 80. That
# run reached, on the first gallery draw and after epoch 95 (counted from 0), all-search Rank-1 79.73, mAP 75.21,
# mINP 62.47. The released code's schedule (25, 90 and 120, mscm_sysu.py) has no log. The log itself:
# plot_curves.py WORK_DIR --released mscm_sysu.
# As published, the best epoch is chosen on the test set.
_base_ = './mscm_sysu.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=11, by_epoch=True),
    dict(type='MultiStepLR', milestones=[25, 80], gamma=0.1, by_epoch=True),
]
