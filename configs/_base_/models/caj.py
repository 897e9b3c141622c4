# CAJ (Ye et al., ICCV 2021): AGW's network with channel-augmented views, two visible ones through one stem, and the
# enhanced squared difference in the triplet. Tested with the mirrored image added.
_base_ = './agw.py'
model = dict(
    data_preprocessor=dict(
        ops=dict(
            erase=dict(
                type='RandomErase', prob=0.5, area=(0.02, 0.4), aspect=(0.3, 1 / 0.3), fill=(0.4914, 0.4822, 0.4465)
            ),
        ),
        views=dict(
            _delete_=True,
            visible_1=dict(modality='visible', stem='visible'),
            visible_2=dict(modality='visible', stem='visible', ops=dict(channel=dict(type='ChannelToAll'))),
            infrared=dict(modality='infrared', ops=dict(gray=dict(type='AdaptiveGray'))),
        ),
    ),
    head=dict(losses=dict(wrt=None, esd=dict(type='EnhancedSquaredDifference'))),
    inference=dict(flip='add'),
)
