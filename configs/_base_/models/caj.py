# CAJ (Ye et al., ICCV 2021): AGW's network with channel-augmented views, two visible ones through one stem, and the
# enhanced squared difference in the triplet. Tested with the mirrored image added.
_base_ = './agw.py'
_crop_flip = [dict(type='PadCrop', padding=10), dict(type='HorizontalFlip', prob=0.5), dict(type='Normalize')]
_erase = dict(type='RandomErase', prob=0.5, area=(0.02, 0.4), aspect=(0.3, 1 / 0.3), fill=(0.4914, 0.4822, 0.4465))
model = dict(
    data_preprocessor=dict(
        views=[
            dict(modality='visible', stem='visible', ops=[*_crop_flip, _erase]),
            dict(modality='visible', stem='visible', ops=[*_crop_flip, _erase, dict(type='ChannelToAll')]),
            dict(modality='infrared', stem='infrared', ops=[*_crop_flip, _erase, dict(type='AdaptiveGray')]),
        ],
    ),
    head=dict(losses=dict(wrt=None, esd=dict(type='EnhancedSquaredDifference'))),
    inference=dict(flip='add'),
)
del _crop_flip, _erase
