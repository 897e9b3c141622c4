# SYSU-MM01. The folder: $MSCMREID_DATA/SYSU-MM01, data/SYSU-MM01, or --cfg-options data_root=FOLDER.
_base_ = './loaders.py'
# 'trainval': 395 identities, as published. To select the best epoch honestly, on the data set's own 99 validation
# identities, see mscm_sysu_val.py.
train_dataloader = dict(dataset=dict(type='SYSUMM01', split='trainval'))
val_dataloader = dict(dataset=dict(type='SYSUMM01', split='test'))
test_dataloader = val_dataloader
# after an epoch: all-search, the first gallery draw only
val_evaluator = dict(protocols=[dict(type='SYSUProtocol', mode='all', trials=1)])
# the published protocol: both modes, ten draws, both features
test_evaluator = dict(protocols=[dict(type='SYSUProtocol', mode='all'), dict(type='SYSUProtocol', mode='indoor')])
