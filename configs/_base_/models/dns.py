# DNS (Jiang et al., ECCV 2024): streams that are private up to stage 2, HSS behind stages 3 and 4, and in training CSS,
# which makes a second, shifted feature; circle loss, MMD (DA) and the other modality's teachers (DD). Tested with the
# mirrored image added. The views are those of SYSU-MM01.
# image_size and num_classes come from the config of the data set.
_mean, _std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# in [0, 1] this is (0.4914, 0.4822, 0.4465): it stands before the release's normalising, here behind it
_early = dict(
    type='RandomErase',
    prob=0.5,
    area=(0.02, 0.33),
    aspect=(0.3, 3.3),
    log_aspect=True,
    attempts=10,
    fill=((0.4914 - 0.485) / 0.229, (0.4822 - 0.456) / 0.224, (0.4465 - 0.406) / 0.225),
)
_late = dict(type='RandomErase', prob=0.5, area=(0.02, 0.4), aspect=(0.3, 1 / 0.3), fill=(0.4914, 0.4822, 0.4465))
model = dict(
    type='CrossModalReID',
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean=_mean,
        std=_std,
        ops=dict(  # of every view, in this order
            crop=dict(type='PadCrop', padding=10),
            flip=dict(type='HorizontalFlip', prob=0.5),
            normalize=dict(type='Normalize'),
        ),
        views=dict(
            visible=dict(
                modality='visible',
                ops=dict(early=_early, late=_late, channel=dict(type='ChannelToAll', prob=2 / 3, gray=True)),
            ),
            infrared=dict(
                modality='infrared',
                ops=dict(hue=dict(type='HueShift', turn=(-0.5, 0.5), mean=_mean, std=_std), early=_early, late=_late),
            ),
        ),
    ),
    backbone=dict(
        type='MultiStreamResNet',
        depth=50,
        streams=dict(visible=['visible'], infrared=['infrared']),
        private='stage2',
        plugins=dict(
            hss=dict(type='HSS', after=['stage3', 'stage4']),
            css=dict(type='CSS', after='stage4', dropout=0.01),
        ),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    neck=dict(type='BNNeck', pool=dict(type='GeM', p=3), train_bias=True),
    head=dict(
        type='ReIDHead',
        losses=dict(
            ce=dict(type='CrossEntropy'),
            circle=dict(type='CircleLoss', margin=0.45, scale=64, divide_by_rows=True),
            da=dict(type='DomainAlignment', shifted='feat_shifted', weight=0.2),
            dd=dict(type='OtherModalityTeacher', features=['feat_bn', 'feat_shifted'], tau=0.2, ce_weight=0.25),
        ),
    ),
    inference=dict(flip='add'),
)
del _mean, _std, _early, _late
