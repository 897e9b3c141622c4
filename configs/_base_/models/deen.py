# DEEN (Zhang and Wang, CVPR 2023): MFA behind stages 1 to 3, DEE's two extra branches behind stage 3, average pooling,
# batch-hard triplet, center-guided pair mining and orthogonal branches. Tested with the mirrored image added, by the
# summed similarity of both features. The area of the erased rectangle is that for SYSU-MM01.
model = dict(
    type='CrossModalReID',
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225],
        ops=dict(  # of every view, in this order
            gray=dict(type='RandomGrayscale', prob=0.5),
            crop=dict(type='PadCrop', padding=10),
            flip=dict(type='HorizontalFlip', prob=0.5),
            normalize=dict(type='Normalize'),
            erase=dict(
                type='RandomErase', prob=0.5, area=(0.2, 0.8), aspect=(0.3, 1 / 0.3), fill=(0.485, 0.456, 0.406)
            ),
        ),
        views=dict(visible=dict(modality='visible'), infrared=dict(modality='infrared')),
    ),
    backbone=dict(
        type='MultiStreamResNet',
        depth=50,
        streams=dict(visible=['visible'], infrared=['infrared']),
        plugins=dict(
            mfa=dict(type='MFA', after=['stage1', 'stage2', 'stage3']),
            dee=dict(type='DEE', after='stage3', num_branches=2, dropout=0.01),
        ),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    neck=dict(type='BNNeck', pool=dict(type='AveragePool')),
    head=dict(
        type='ReIDHead',
        losses=dict(
            ce=dict(type='CrossEntropy'),
            triplet=dict(type='BatchHardTripletLoss', margin=0.3),
            cpm=dict(type='CenterGuidedPairMining', margin=0.2, weight=0.8),
            orthogonality=dict(type='BranchOrthogonality', weight=0.01),
        ),
    ),
    inference=dict(flip='add'),
)
