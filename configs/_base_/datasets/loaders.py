# Data loaders of all data sets; sysu.py, regdb.py and llcm.py say what they load.
image_size = (384, 192)  # height, width

train_dataloader = dict(
    batch_size=48,  # of all processes together: 2 modalities x num_ids x num_instances
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='CrossModalityIdentitySampler', num_ids=6, num_instances=4),
    collate_fn=dict(type='mscmreid.reid_collate'),
    worker_init_fn=dict(type='mscmreid.seed_worker'),
    dataset=dict(image_size=image_size),
)
val_dataloader = dict(
    batch_size=64,  # of each process
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mscmreid.reid_collate'),
    dataset=dict(image_size=image_size),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='VIReIDMetric', features=['feat_bn', 'feat_pool'])
test_evaluator = val_evaluator
