# MSCMNet on RegDB, split 1 of 10 (a published number is the mean over the ten). No number of MSCMNet on RegDB can be
# verified, so none is expected here. The best epoch is chosen on the test set, as is usual on RegDB.
_base_ = [
    './_base_/datasets/regdb.py',
    './_base_/models/mscm.py',
    './_base_/schedules/mscm.py',
    './_base_/default_runtime.py',
]
image_size = (384, 192)  # height, width
model = dict(head=dict(num_classes=206))
