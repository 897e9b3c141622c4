# DNS on SYSU-MM01. Published (single-shot, mean of 10 gallery draws, feature after the BN neck, mirrored image added):
# all-search Rank-1 77.27, mAP 74.35, mINP 62.43; indoor-search Rank-1 84.21, mAP 86.83, mINP 83.88 (output of the test
# notebook released with the checkpoints, epoch 97). Its training log: plot_curves.py WORK_DIR --released dns_sysu.
# As published, the best epoch is chosen on the test set.
_base_ = [
    './_base_/datasets/sysu.py',
    './_base_/models/dns.py',
    './_base_/schedules/dns.py',
    './_base_/default_runtime.py',
]
image_size = (288, 144)  # height, width
model = dict(head=dict(num_classes=395))
