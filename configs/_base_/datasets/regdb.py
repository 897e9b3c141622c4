# RegDB. The folder: $MSCMREID_DATA/RegDB, data/RegDB, or --cfg-options data_root=FOLDER.
# Another of the ten splits: --cfg-options split_id=2 (it reaches training, validation and test).
image_size = (384, 192)  # height, width

train_dataloader = dict(
    batch_size=48,  # of all processes together: 2 modalities x num_ids x num_instances
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='CrossModalityIdentitySampler', num_ids=6, num_instances=4),
    collate_fn=dict(type='mscmreid.reid_collate'),
    worker_init_fn=dict(type='mscmreid.seed_worker'),
    dataset=dict(type='RegDB', split='train', split_id=1, image_size=image_size),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mscmreid.reid_collate'),
    dataset=dict(type='RegDB', split='test', split_id=1, image_size=image_size),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='VIReIDMetric',
    protocols=[dict(type='RegDBProtocol', direction='visible-to-infrared')],
    features=['feat_bn', 'feat_pool'],
)
test_evaluator = dict(
    type='VIReIDMetric',
    protocols=[
        dict(type='RegDBProtocol', direction='visible-to-infrared'),
        dict(type='RegDBProtocol', direction='infrared-to-visible'),
    ],
    features=['feat_bn', 'feat_pool'],
)
