# LLCM. The folder: $MSCMREID_DATA/LLCM, data/LLCM, or --cfg-options data_root=FOLDER.
image_size = (384, 192)  # height, width

train_dataloader = dict(
    batch_size=48,  # of all processes together: 2 modalities x num_ids x num_instances
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='CrossModalityIdentitySampler', num_ids=6, num_instances=4),
    collate_fn=dict(type='mscmreid.reid_collate'),
    worker_init_fn=dict(type='mscmreid.seed_worker'),
    dataset=dict(type='LLCM', split='train', image_size=image_size),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mscmreid.reid_collate'),
    dataset=dict(type='LLCM', split='test', image_size=image_size),
)
test_dataloader = val_dataloader

# after an epoch: one direction, the first gallery draw only
val_evaluator = dict(
    type='VIReIDMetric',
    protocols=[dict(type='LLCMProtocol', direction='infrared-to-visible', trials=1)],
    features=['feat_bn', 'feat_pool'],
)
# both directions, ten draws; the published rows use the summed similarity, which is always printed on LLCM
test_evaluator = dict(
    type='VIReIDMetric',
    protocols=[
        dict(type='LLCMProtocol', direction='infrared-to-visible'),
        dict(type='LLCMProtocol', direction='visible-to-infrared'),
    ],
    features=['feat_bn', 'feat_pool'],
)
