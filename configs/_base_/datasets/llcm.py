# LLCM. The folder: $MSCMREID_DATA/LLCM, data/LLCM, or --cfg-options data_root=FOLDER.
_base_ = './loaders.py'
train_dataloader = dict(dataset=dict(type='LLCM', split='train'))
val_dataloader = dict(dataset=dict(type='LLCM', split='test'))
test_dataloader = val_dataloader
# after an epoch: one direction, the first gallery draw only
val_evaluator = dict(protocols=[dict(type='LLCMProtocol', direction='infrared-to-visible', trials=1)])
# both directions, ten draws; the published rows use the summed similarity, which is always printed on LLCM
test_evaluator = dict(
    protocols=[
        dict(type='LLCMProtocol', direction='infrared-to-visible'),
        dict(type='LLCMProtocol', direction='visible-to-infrared'),
    ]
)
