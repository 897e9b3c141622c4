# AGW trained on SYSU-MM01 and RegDB (split 1), tested on LLCM, which it never sees: L2RW's ES protocol (Jiang et al.,
# CVPR 2025; "R_S_to_L" in its released code). From there: 395 + 206 people of the sets' training splits, 288 x 144,
# 8 people x 4 images a modality, infrared to visible. Our reading: AGW by this project's recipe, ten gallery draws
# (the released test.py makes one), ids and cameras kept apart. No number is stated: none was at hand to compare with.
# As in the released code, the best epoch is chosen on the test set; the last epoch's checkpoint is an honest choice.
_base_ = '../agw_llcm.py'
model = dict(head=dict(num_classes=601))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatReIDDataset',
        datasets=dict(
            sysu=dict(type='SYSUMM01', split='trainval'),
            regdb=dict(type='RegDB', split='train', split_id=1),
        ),
    )
)
image_size = (288, 144)  # height, width
test_evaluator = dict(protocols=[dict(type='LLCMProtocol', direction='infrared-to-visible')])
