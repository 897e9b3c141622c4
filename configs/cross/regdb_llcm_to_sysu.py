# AGW trained on RegDB (split 1) and LLCM, tested on SYSU-MM01, which it never sees: L2RW's ES protocol ("R_L_to_S" in
# its released code), 206 + 713 people; all-search, single-shot, infrared to visible, ten draws of AGW's lineage. What
# is the source's and what is our reading: see sysu_regdb_to_llcm.py. No number is stated.
_base_ = '../agw_sysu.py'
model = dict(head=dict(num_classes=919))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatReIDDataset',
        datasets=dict(
            regdb=dict(type='RegDB', split='train', split_id=1),
            llcm=dict(type='LLCM', split='train'),
        ),
    )
)
image_size = (288, 144)  # height, width
test_evaluator = dict(protocols=[dict(type='SYSUProtocol', mode='all')])
