# AGW trained on LLCM and SYSU-MM01, tested on RegDB (split 1's test people), which it never sees: L2RW's ES protocol
# ("L_S_to_R" in its released code), 713 + 395 people; thermal to visible. RegDB draws no galleries: instead of
# ten draws there are ten splits, test_dataloader.dataset.split_id=1 .. 10 with one and the same network. What is the
# source's and what is our reading: see sysu_regdb_to_llcm.py. No number is stated.
_base_ = '../agw_regdb.py'
model = dict(head=dict(num_classes=1108))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatReIDDataset',
        datasets=dict(
            llcm=dict(type='LLCM', split='train'),
            sysu=dict(type='SYSUMM01', split='trainval'),
        ),
    )
)
image_size = (288, 144)  # height, width
val_evaluator = dict(protocols=[dict(type='RegDBProtocol', direction='infrared-to-visible')])
test_evaluator = dict(protocols=[dict(type='RegDBProtocol', direction='infrared-to-visible')])
