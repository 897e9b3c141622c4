# MSCMNet (Pattern Recognition 159, 111090): four stems (QFE), non-local trunk, MIMB, QCT.
# image_size and num_classes come from the config of the data set.
_crop_flip = [dict(type='PadCrop', padding=10), dict(type='HorizontalFlip', prob=0.5)]
_erase = dict(type='RandomErase', prob=0.5, area=(0.02, 0.4), aspect=(0.3, 1 / 0.3), fill=(0.4914, 0.4822, 0.4465))

# one augmented version of an image each, with a stem of its own
mscm_views = dict(
    visible_1=dict(
        modality='visible',
        stem='visible_1',
        ops=[dict(type='RandomGrayscale', prob=0.5), *_crop_flip, dict(type='Normalize'), _erase],
    ),
    visible_2=dict(
        modality='visible',
        stem='visible_2',
        ops=[*_crop_flip, dict(type='Normalize'), _erase, dict(type='ChannelToAll')],
    ),
    infrared_1=dict(
        modality='infrared',
        stem='infrared_1',
        ops=[*_crop_flip, dict(type='Normalize'), _erase, dict(type='InfraredGray')],
    ),
    infrared_2=dict(
        modality='infrared',
        stem='infrared_2',
        ops=[
            dict(type='RandomBrightness', factor=(0.5, 1.5)),
            *_crop_flip,
            dict(type='Normalize'),
            _erase,
            dict(type='ChannelScale', prob=0.5, factor=(0.02, 1.0)),
        ],
    ),
)
del _crop_flip, _erase

model = dict(
    type='CrossModalReID',
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225],
        views=list(mscm_views.values()),
    ),
    backbone=dict(
        type='MultiStreamResNet',
        depth=50,
        streams=dict(visible=['visible_1', 'visible_2'], infrared=['infrared_1', 'infrared_2']),
        plugins=dict(
            non_local=dict(type='NonLocal', last=dict(stage2=2, stage3=3)),  # C/2 channels inside
            mimb=dict(type='MIMB', after='stage3'),
        ),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    neck=dict(type='BNNeck', pool=dict(type='GeM', p=3)),
    head=dict(
        type='ReIDHead',
        losses=dict(
            ce=dict(type='CrossEntropy'),
            qct=dict(type='QuadrupleCenterTripletLoss', margin=0.7, alpha=0.0),
        ),
    ),
)
