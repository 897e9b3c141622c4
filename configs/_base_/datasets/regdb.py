# RegDB. The folder: $MSCMREID_DATA/RegDB, data/RegDB, or --cfg-options data_root=FOLDER.
# Another of the ten splits: --cfg-options split_id=2 (it reaches training, validation and test).
_base_ = './loaders.py'
train_dataloader = dict(dataset=dict(type='RegDB', split='train', split_id=1))
val_dataloader = dict(dataset=dict(type='RegDB', split='test', split_id=1))
test_dataloader = val_dataloader
val_evaluator = dict(protocols=[dict(type='RegDBProtocol', direction='visible-to-infrared')])
test_evaluator = dict(
    protocols=[
        dict(type='RegDBProtocol', direction='visible-to-infrared'),
        dict(type='RegDBProtocol', direction='infrared-to-visible'),
    ]
)
