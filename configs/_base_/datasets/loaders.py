# Data loaders of all data sets; sysu.py, regdb.py and llcm.py say what they load. image_size stands at the top level of
# each experiment's config.
train_dataloader = dict(
    num_workers=4,
    pin_memory=True,
    # a batch of all processes together: num_ids people, num_instances visible and as many infrared images of each
    batch_sampler=dict(type='CrossModalityBatchSampler', num_ids=6, num_instances=4),
    collate_fn=dict(type='mscmreid.reid_collate'),
    worker_init_fn=dict(type='mscmreid.seed_worker'),
)
val_dataloader = dict(
    batch_size=64,  # of each process
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mscmreid.reid_collate'),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='VIReIDMetric', features=['feat_bn', 'feat_pool'])
test_evaluator = val_evaluator
