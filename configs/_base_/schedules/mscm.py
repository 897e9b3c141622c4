# MSCMNet's training: SGD, 10 epochs of warm-up, x 0.1 at epochs 25, 90 and 120 of 150 (counted from 0).
# validated after every epoch but the first
train_cfg = dict(by_epoch=True, max_epochs=150, val_begin=2, val_interval=1)
val_cfg = dict(type='ReIDValLoop')
test_cfg = dict(type='ReIDTestLoop')

optim_wrapper = dict(
    type='AutocastOptimWrapper',
    dtype='float16',  # with CUDA; a CPU goes on in float32
    constructor='ReIDOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    # neck and classifier learn at 0.1, the rest at 0.01
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=11, by_epoch=True),
    dict(type='MultiStepLR', milestones=[25, 90, 120], gamma=0.1, by_epoch=True),
]
# A larger batch for more GPUs is never silent: set batch_sampler.num_ids, and here enable=True, which scales the
# learning rate by images of a batch / base_batch_size.
auto_scale_lr = dict(enable=False, base_batch_size=48)
