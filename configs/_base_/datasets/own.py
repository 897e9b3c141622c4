# Own data: a CSV (path, pid, cam_id, modality, split, role) or folders split/modality/camN/pid, see docs/datasets.md.
# The folder: data/own, or --cfg-options data_root=FOLDER; for a CSV also train_dataloader.dataset.ann_file=FILE and the
# same for val_dataloader and test_dataloader.
_base_ = './loaders.py'
_own = dict(type='FolderReID', data_root='data/own')
train_dataloader = dict(dataset=dict(**_own, split='train'))
val_dataloader = dict(dataset=dict(**_own, split='test'))
test_dataloader = val_dataloader
# every infrared image of the split asks for its person among the visible ones, and the reverse; nothing is ignored
_protocols = [
    dict(
        type='GeneralProtocol',
        query=dict(modality='infrared'),
        gallery=dict(modality='visible'),
        name='infrared-to-visible',
    ),
    dict(
        type='GeneralProtocol',
        query=dict(modality='visible'),
        gallery=dict(modality='infrared'),
        name='visible-to-infrared',
    ),
]
val_evaluator = dict(protocols=_protocols[:1])
test_evaluator = dict(protocols=_protocols)
