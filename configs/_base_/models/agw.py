# AGW (Ye et al., TPAMI 2022): one stem a modality, non-local blocks with one channel inside, GeM, WRT.
# image_size and num_classes come from the config of the data set.
model = dict(
    type='CrossModalReID',
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225],
        ops=dict(  # of every view, in this order
            crop=dict(type='PadCrop', padding=10),
            flip=dict(type='HorizontalFlip', prob=0.5),
            normalize=dict(type='Normalize'),
        ),
        views=dict(visible=dict(modality='visible'), infrared=dict(modality='infrared')),
    ),
    backbone=dict(
        type='MultiStreamResNet',
        depth=50,
        streams=dict(visible=['visible'], infrared=['infrared']),
        plugins=dict(non_local=dict(type='NonLocal', last=dict(stage2=2, stage3=3), inner_channels=1)),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    neck=dict(type='BNNeck', pool=dict(type='GeM', p=3)),
    head=dict(
        type='ReIDHead',
        losses=dict(ce=dict(type='CrossEntropy'), wrt=dict(type='WeightedRegularizedTriplet')),
    ),
)
