# PMT on RegDB, split 1 of 10: 36 epochs, training images resized twice, as released. No number was verified, so none
# is expected here. As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/regdb.py',
    './_base_/models/pmt.py',
    './_base_/schedules/pmt.py',
    './_base_/default_runtime.py',
]
image_size = (256, 128)  # height, width
model = dict(head=dict(num_classes=206))
train_dataloader = dict(
    batch_sampler=dict(num_ids=8, num_instances=4, replacement=False),
    dataset=dict(resize=[('lanczos', (288, 144)), 'bilinear']),  # test images: Lanczos straight to their size
)
train_cfg = dict(max_epochs=36)
default_hooks = dict(checkpoint=dict(save_best='reid/mAP'))
