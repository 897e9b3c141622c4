# PMT (Lu et al., AAAI 2023): a ViT-B/16 with overlapping patches and nothing private to a modality. For six epochs gray
# visible images, cross entropy and a triplet within each modality; then colour, a triplet over all rows, MSEL and DCL.
# The published start is timm's vit_base_patch16_224.orig_in21k_ft_in1k (file jx_vit_base_p16_224-80ecf9dd.pth): name it
# with model.backbone.init_cfg.checkpoint=FILE. torchvision's weights, loaded otherwise, are another start.
# image_size and num_classes come from the config of the data set.
model = dict(
    type='CrossModalReID',
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225],
        ops=dict(  # of every view, in this order
            flip=dict(type='HorizontalFlip', prob=0.5),
            normalize=dict(type='Normalize'),
            erase=dict(
                type='RandomErase', prob=0.5, area=(0.02, 0.4), aspect=(0.3, 1 / 0.3), fill=(0.485, 0.456, 0.406)
            ),
        ),
        views=dict(
            visible=dict(
                modality='visible',
                ops=dict(gray=dict(type='RandomGrayscale', prob=1.0, until_epoch=6, before='normalize')),
            ),
            infrared=dict(
                modality='infrared',
                ops=dict(
                    distort=dict(
                        type='OneOf',
                        ops=dict(
                            jitter=dict(type='RandomJitter', brightness=(0.7, 1.3), contrast=(0.7, 1.3)),
                            blur=dict(type='GaussianBlur', kernel=21, sigma=(0.1, 3.0)),
                        ),
                        before='normalize',
                    )
                ),
            ),
        ),
    ),
    backbone=dict(
        type='VisionTransformer',
        patch=16,
        stride=12,
        dropout=0.03,
        drop_path=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://vit_b_16'),
    ),
    neck=dict(type='BNNeck', pool=dict(type='ClassToken'), weight_std=0.0),
    head=dict(
        type='ReIDHead',
        losses=dict(
            ce=dict(type='CrossEntropy', by_modality=True),
            intra=dict(type='BatchHardTripletLoss', margin=0.1, within_modality=True, until_epoch=6),
            triplet=dict(type='BatchHardTripletLoss', margin=0.1, from_epoch=6),
            msel=dict(type='ModalitySharedEnhancement', weight=0.5, from_epoch=6),
            dcl=dict(type='DiscriminativeCenter', weight=0.5, from_epoch=6),
        ),
    ),
)
