# PMT (Lu, Zou and Zhang, AAAI 2023, arXiv 2212.00226), part by part, each under its name in the paper's method section.
# Where paper and released code differ, this is what the code does.
# image_size and num_classes come from the config of the data set.
model = dict(
    type='CrossModalReID',
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean=[0.485, 0.456, 0.406],  # ImageNet's, though the weights below were made with 0.5
        std=[0.229, 0.224, 0.225],
        ops=dict(  # of every view, in this order
            flip=dict(type='HorizontalFlip', prob=0.5),
            normalize=dict(type='Normalize'),
            erase=dict(
                type='RandomErase', prob=0.5, area=(0.02, 0.4), aspect=(0.3, 1 / 0.3), fill=(0.485, 0.456, 0.406)
            ),
        ),
        views=dict(
            # Progressive learning strategy. Stage 1, six epochs: gray-scale visible images, so that the two modalities
            # look alike and what they share is learnt first. Stage 2: the visible images as they are.
            visible=dict(
                modality='visible',
                ops=dict(gray=dict(type='RandomGrayscale', prob=1.0, until_epoch=6, before='normalize')),
            ),
            # Implementation details: an infrared image is always either jittered or blurred.
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
    # The modality-shared transformer: one ViT-B/16 for both modalities, nothing private to one; patches of 16 pixels,
    # 12 apart, so that they overlap; its class token is the feature, behind a BN neck.
    backbone=dict(
        type='VisionTransformer',
        patch=16,
        stride=12,
        dropout=0.03,
        drop_path=0.1,  # of the last block, rising from 0 at the first
        # The published start, timm's vit_base_patch16_224.orig_in21k_ft_in1k. Another ('torchvision://vit_b_16', a file
        # at hand) is another experiment; the log, checkpoints and results say which one a run had.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx/'
            'jx_vit_base_p16_224-80ecf9dd.pth',
        ),
    ),
    neck=dict(type='BNNeck', pool=dict(type='ClassToken'), weight_std=0.0),
    head=dict(
        type='ReIDHead',
        losses=dict(
            # L_ID, both stages: the mean over the visible rows and that over the infrared rows, added.
            ce=dict(type='CrossEntropy', by_modality=True),
            # L_PHT, stage 1: the triplet within each modality, hardest pairs of the batch.
            intra=dict(type='BatchHardTripletLoss', margin=0.1, within_modality=True, until_epoch=6),
            # Stage 2: the triplet over the rows of both modalities.
            triplet=dict(type='BatchHardTripletLoss', margin=0.1, from_epoch=6),
            # Modality-shared enhancement loss L_MSEL, stage 2: to its own person a row is as far in the other modality
            # as it is in its own.
            msel=dict(type='ModalitySharedEnhancement', weight=0.5, from_epoch=6),
            # Discriminative center loss L_DCL, stage 2: near to the own person's centre, for what its near others are.
            dcl=dict(type='DiscriminativeCenter', weight=0.5, from_epoch=6),
        ),
    ),
)
