# DNS on LLCM. Published (mean of 10 gallery draws, feature after the BN neck, mirrored image added):
# infrared-to-visible Rank-1 57.45, mAP 64.11, mINP 61.01; visible-to-infrared Rank-1 66.02, mAP 68.60, mINP 62.18
# (output of the test notebook released with the checkpoints, epoch 97).
# Its training log (of another run): plot_curves.py WORK_DIR --released dns_llcm.
# As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/llcm.py',
    './_base_/models/dns.py',
    './_base_/schedules/dns.py',
    './_base_/default_runtime.py',
]
image_size = (288, 144)  # height, width
model = dict(
    data_preprocessor=dict(
        views=dict(visible=dict(ops=dict(early=None, channel=dict(gray=False))), infrared=dict(ops=dict(early=None)))
    ),
    head=dict(num_classes=713),
)
