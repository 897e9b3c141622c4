# Synthetic people in SYSU-MM01's layout, drawn by: python tools/make_synthetic.py data/synthetic --layout sysu
# The folder: data/synthetic, or --cfg-options data_root=FOLDER.
image_size = (96, 48)  # height, width
data_root = 'data/synthetic'
# what changes in the views of images this small; a config applies it to the views of its model
small_ops = dict(PadCrop=dict(padding=4), RandomErase=dict(prob=0.3, area=(0.02, 0.2)))

train_dataloader = dict(
    batch_size=48,  # of all processes together: 2 modalities x num_ids x num_instances
    num_workers=0,  # the images are small and decoded once; a worker would cost more than it saves
    sampler=dict(type='CrossModalityIdentitySampler', num_ids=12, num_instances=2),
    collate_fn=dict(type='mscmreid.reid_collate'),
    worker_init_fn=dict(type='mscmreid.seed_worker'),
    dataset=dict(
        type='SYSUMM01', data_root=data_root, split='trainval', image_size=image_size, check_counts=False
    ),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mscmreid.reid_collate'),
    dataset=dict(type='SYSUMM01', data_root=data_root, split='test', image_size=image_size, check_counts=False),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='VIReIDMetric', protocols=[dict(type='SYSUProtocol', mode='all', trials=1)], features=['feat_bn', 'feat_pool']
)
test_evaluator = dict(
    type='VIReIDMetric',
    protocols=[dict(type='SYSUProtocol', mode='all'), dict(type='SYSUProtocol', mode='indoor')],
    features=['feat_bn', 'feat_pool'],
)
