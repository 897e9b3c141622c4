# Own data: a CSV (path, pid, cam_id, modality, split, role) or folders split/modality/camN/pid, see docs/datasets.md.
# The folder: data/own, or --cfg-options data_root=FOLDER; for a CSV also train_dataloader.dataset.ann_file=FILE and the
# same for val_dataloader and test_dataloader.
_base_ = './loaders.py'
data_root = 'data/own'
train_dataloader = dict(dataset=dict(type='FolderReID', split='train'))
val_dataloader = dict(dataset=dict(type='FolderReID', split='test'))
test_dataloader = val_dataloader
# every infrared image of the split asks for its person among the visible ones, and the reverse; nothing is ignored
val_evaluator = dict(
    protocols=[
        dict(
            type='GeneralProtocol',
            query=dict(modality='infrared'),
            gallery=dict(modality='visible'),
            name='infrared-to-visible',
        ),
    ]
)
test_evaluator = dict(
    protocols=[
        *val_evaluator['protocols'],
        dict(
            type='GeneralProtocol',
            query=dict(modality='visible'),
            gallery=dict(modality='infrared'),
            name='visible-to-infrared',
        ),
    ]
)
