# SYSU-MM01. The folder: $MSCMREID_DATA/SYSU-MM01, data/SYSU-MM01, or --cfg-options data_root=FOLDER.
image_size = (384, 192)  # height, width

train_dataloader = dict(
    batch_size=48,  # of all processes together: 2 modalities x num_ids x num_instances
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='CrossModalityIdentitySampler', num_ids=6, num_instances=4),
    collate_fn=dict(type='mscmreid.reid_collate'),
    worker_init_fn=dict(type='mscmreid.seed_worker'),
    # 'trainval': 395 identities, as published. To select the best epoch honestly, on the data set's own 99
    # validation identities, see mscm_sysu_val.py.
    dataset=dict(type='SYSUMM01', split='trainval', image_size=image_size),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mscmreid.reid_collate'),
    dataset=dict(type='SYSUMM01', split='test', image_size=image_size),
)
test_dataloader = val_dataloader

# after an epoch: all-search, the first gallery draw only
val_evaluator = dict(
    type='VIReIDMetric', protocols=[dict(type='SYSUProtocol', mode='all', trials=1)], features=['feat_bn', 'feat_pool']
)
# the published protocol: both modes, ten draws, both features
test_evaluator = dict(
    type='VIReIDMetric',
    protocols=[dict(type='SYSUProtocol', mode='all'), dict(type='SYSUProtocol', mode='indoor')],
    features=['feat_bn', 'feat_pool'],
)
