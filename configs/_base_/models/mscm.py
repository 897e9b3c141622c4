# MSCMNet (Pattern Recognition 159, 111090): four stems (QFE), non-local trunk, MIMB, QCT.
# image_size and num_classes come from the config of the data set.
model = dict(
    type='CrossModalReID',
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225],
        ops=dict(  # of every view, in this order; a view's own come last, or where they say
            crop=dict(type='PadCrop', padding=10),
            flip=dict(type='HorizontalFlip', prob=0.5),
            normalize=dict(type='Normalize'),
            erase=dict(
                type='RandomErase', prob=0.5, area=(0.02, 0.4), aspect=(0.3, 1 / 0.3), fill=(0.4914, 0.4822, 0.4465)
            ),
        ),
        views=dict(  # one augmented version of an image each, with a stem of its own
            visible_1=dict(modality='visible', ops=dict(gray=dict(type='RandomGrayscale', prob=0.5, before='crop'))),
            visible_2=dict(modality='visible', ops=dict(channel=dict(type='ChannelToAll'))),
            infrared_1=dict(modality='infrared', ops=dict(gray=dict(type='InfraredGray'))),
            infrared_2=dict(
                modality='infrared',
                ops=dict(
                    brightness=dict(type='RandomBrightness', factor=(0.5, 1.5), before='crop'),
                    scale=dict(type='ChannelScale', prob=0.5, factor=(0.02, 1.0)),
                ),
            ),
        ),
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
