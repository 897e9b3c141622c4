# MSCMNet on your own data. num_classes is the number of people in your training split (it is checked against the data:
# the message says the right one): --cfg-options model.head.num_classes=N data_root=FOLDER.
_base_ = [
    './_base_/datasets/own.py',
    './_base_/models/mscm.py',
    './_base_/schedules/mscm.py',
    './_base_/default_runtime.py',
]
image_size = (384, 192)  # height, width
model = dict(head=dict(num_classes=100))
